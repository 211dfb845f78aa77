"""The client: one object, one server."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, overload

import httpx

from vlp_client.errors import UNKNOWN_KIND, ConnectError, ProtocolError, TimeoutError, error_class
from vlp_client.pictures import ImageSource, read_picture
from vlp_client.records import Answer, ModelInfo, QuestionResult, VqaAnswers, VqaResults

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Client:
    """Talks to one vlpserve server; usable from several threads, and as a context manager.

    Args:
        url: of the server, such as http://127.0.0.1:8080.
        timeout_s: for connecting, and for each wait for bytes of an answer.
        transport: httpx transport in place of the network.
    """

    def __init__(self, url: str, *, timeout_s: float = 60.0, transport: httpx.BaseTransport | None = None) -> None:
        base = httpx.URL(url)
        # A proxy of the environment cannot reach this machine's own server.
        self._http = httpx.Client(
            base_url=base, timeout=timeout_s, transport=transport, trust_env=base.host not in _LOOPBACK
        )

    @overload
    def vqa(
        self,
        image: ImageSource,
        question: str,
        *,
        top_k: int = ...,
        answers: Sequence[str] | None = ...,
        model: str | None = ...,
        deadline_s: float | None = ...,
    ) -> VqaAnswers: ...

    @overload
    def vqa(
        self,
        image: ImageSource,
        question: list[str] | tuple[str, ...],
        *,
        top_k: int = ...,
        answers: Sequence[str] | None = ...,
        model: str | None = ...,
        deadline_s: float | None = ...,
    ) -> VqaResults: ...

    def vqa(
        self,
        image: ImageSource,
        question: str | list[str] | tuple[str, ...],
        *,
        top_k: int = 5,
        answers: Sequence[str] | None = None,
        model: str | None = None,
        deadline_s: float | None = None,
    ) -> VqaAnswers | VqaResults:
        """Ask one question, or several, about a picture.

        Args:
            image: path, bytes, binary file, PIL image; or an http(s) URL, which the server fetches where it may.
            question: a str gives `VqaAnswers`, a list gives `VqaResults`.
            top_k: answers to each question.
            answers: a closed list to choose among.
            model: name, name@version or name@alias; None for the server's default.
            deadline_s: after which the server stops working on it; None for the server's default.

        Raises:
            VlpClientError: see `vlp_client.errors`.
            OSError: the picture's file cannot be read.
        """
        fields: dict[str, Any] = {"top_k": top_k}
        if isinstance(question, str):
            fields["question"] = question
        else:
            fields["questions"] = list(question)
        if answers is not None:
            fields["answers"] = list(answers)
        if model is not None:
            fields["model"] = model
        headers = {} if deadline_s is None else {"X-Request-Timeout-Ms": str(max(1, round(deadline_s * 1000)))}
        picture = read_picture(image)
        if picture.url is not None:
            response = self._send("POST", "/v1/vqa", json={"image": picture.url, **fields}, headers=headers)
        else:
            form = {name: json.dumps(value) if isinstance(value, list) else value for name, value in fields.items()}
            files = {"image": (picture.file_name, picture.content)}
            response = self._send("POST", "/v1/vqa", data=form, files=files, headers=headers)
        return _vqa_reply(response)

    def models(self) -> tuple[ModelInfo, ...]:
        """The served models, the default one first.

        Raises:
            VlpClientError: see `vlp_client.errors`.
        """
        response = self._send("GET", "/v1/models")
        try:
            return tuple(_model_info(item) for item in response.json()["data"])
        except (ValueError, KeyError, TypeError) as error:
            raise _unreadable(response) from error

    def ready(self) -> bool:
        """Whether the server takes requests now.

        Raises:
            VlpClientError: there is no server, or something else answers.
        """
        response = self._request("GET", "/readyz")
        if response.status_code not in (200, 503):
            raise _server_error(response)
        return response.status_code == 200

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        response = self._request(method, path, **content)
        if response.status_code != 200:
            raise _server_error(response)
        return response

    def _request(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **content)
        except httpx.TimeoutException as error:
            raise TimeoutError(f"{self._http.base_url}: no answer in time") from error
        except httpx.TransportError as error:
            raise ConnectError(f"{self._http.base_url}: {error or type(error).__name__}; is the server up?") from error


def _vqa_reply(response: httpx.Response) -> VqaAnswers | VqaResults:
    timings = _timings(response.headers.get("Server-Timing", ""))
    try:
        body = response.json()
        if "answers" in body:
            return VqaAnswers(body["model"], _answers(body["answers"]), timings)
        results = tuple(QuestionResult(item["question"], _answers(item["answers"])) for item in body["results"])
        return VqaResults(body["model"], results, timings)
    except (ValueError, KeyError, TypeError) as error:
        raise _unreadable(response) from error


def _answers(items: list[dict[str, Any]]) -> tuple[Answer, ...]:
    return tuple(Answer(str(item["answer"]), float(item["score"])) for item in items)


def _model_info(item: Mapping[str, Any]) -> ModelInfo:
    return ModelInfo(
        id=item["id"],
        name=item["name"],
        version=item["version"],
        family=item["family"],
        tasks=tuple(item["tasks"]),
        precision=item["precision"],
        limits=dict(item["limits"]),
        state=item["state"],
        reason=item["reason"],
        default=item["default"],
    )


def _timings(header: str) -> dict[str, float]:
    """Durations of a Server-Timing header by name; entries without one are left out."""
    timings: dict[str, float] = {}
    for entry in header.split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key == "dur":
                timings[name] = float(value)
    return timings


def _server_error(response: httpx.Response) -> Exception:
    """The error that an answer is; an answer that is no problem document came from something in between."""
    try:
        problem = response.json()
        kind, message = str(problem["kind"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        problem, kind = {}, UNKNOWN_KIND
        message = f"status {response.status_code} without a problem document; is this the server's address?"
    retry_after = problem.get("retry_after_s", response.headers.get("Retry-After"))
    try:
        retry_after_s = None if retry_after is None else float(retry_after)
    except ValueError:  # Retry-After may also be a date
        retry_after_s = None
    return error_class(kind)(
        message,
        kind=kind,
        status=response.status_code,
        field=problem.get("field"),
        request_id=problem.get("request_id") or response.headers.get("X-Request-Id"),
        retry_after_s=retry_after_s,
    )


def _unreadable(response: httpx.Response) -> ProtocolError:
    return ProtocolError(f"{response.url}: status {response.status_code} with a body that is not this API's")
