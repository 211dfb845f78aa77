"""The client: one object, one server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, overload

import httpx

from vlp_client.asking import Texts, one_or_list
from vlp_client.captioning import Captioning
from vlp_client.collection import Collection
from vlp_client.collection_records import CollectionInfo, collection_info
from vlp_client.connection import Connection, deadline_headers, server_error, timings_of
from vlp_client.judging import Judging
from vlp_client.model_admin import ModelAdmin
from vlp_client.pictures import ImageItem, ImageSource
from vlp_client.records import (
    Answer,
    Classification,
    Embeddings,
    LabelScore,
    Matches,
    ModelInfo,
    QuestionResult,
    TextScore,
    VqaAnswers,
    VqaResults,
)
from vlp_client.regions import FoundRegions, RegionSource, found_regions
from vlp_client.subject import subject_of
from vlp_client.vectors import read_base64


class Client(Judging, Captioning):
    """Talks to one vlpserve server; usable from several threads, and as a context manager.

    Args:
        url: of the server, such as http://127.0.0.1:8080.
        api_key: for a server that asks for one. It travels as it is: across a network only by https.
        timeout_s: for connecting, and for each wait for bytes of an answer.
        transport: httpx transport in place of the network.

    Raises:
        ValueError: the key cannot be one.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._connection = Connection(url, api_key=api_key, timeout_s=timeout_s, transport=transport)

    @overload
    def vqa(
        self,
        image: ImageSource | None,
        question: str,
        *,
        top_k: int = ...,
        answers: Sequence[str] | None = ...,
        regions: RegionSource | None = ...,
        model: str | None = ...,
        deadline_s: float | None = ...,
    ) -> VqaAnswers: ...

    @overload
    def vqa(
        self,
        image: ImageSource | None,
        question: Texts,
        *,
        top_k: int = ...,
        answers: Sequence[str] | None = ...,
        regions: RegionSource | None = ...,
        model: str | None = ...,
        deadline_s: float | None = ...,
    ) -> VqaResults: ...

    def vqa(
        self,
        image: ImageSource | None,
        question: str | Texts,
        *,
        top_k: int = 5,
        answers: Sequence[str] | None = None,
        regions: RegionSource | None = None,
        model: str | None = None,
        deadline_s: float | None = None,
    ) -> VqaAnswers | VqaResults:
        """Ask one question, or several, about a picture.

        Args:
            image: path, bytes, binary file, PIL image; or an http(s) URL, which the server fetches where it may; None
                where `regions` are given.
            question: a str gives `VqaAnswers`, a list gives `VqaResults`.
            top_k: answers to each question.
            answers: a closed list to choose among.
            regions: in place of the picture, for a model that reads region features: `Regions`, or an .npz file as
                path, bytes or binary file.
            model: name, name@version or name@alias; None for the server's default.
            deadline_s: after which the server stops working on it; None for the server's default.

        Raises:
            VlpClientError: see `vlp_client.errors`.
            OSError: a file cannot be read.
            TypeError: neither a picture nor regions, or both.
        """
        fields: dict[str, Any] = {"top_k": top_k, **one_or_list("question", "questions", question)}
        if answers is not None:
            fields["answers"] = list(answers)
        subject = subject_of(image, regions)
        return self._ask("/v1/vqa", _vqa_reply, subject, fields, model=model, deadline_s=deadline_s)

    def classify(
        self,
        image: ImageSource,
        labels: Sequence[str],
        *,
        templates: Sequence[str] | None = None,
        model: str | None = None,
        deadline_s: float | None = None,
    ) -> Classification:
        """Choose among labels that the model was never trained on; other arguments and errors as `vqa`.

        Args:
            labels: any words.
            templates: what is said of a label, with {} for it, such as "a photo of a {}."; None for the bare label.
        """
        fields: dict[str, Any] = {"labels": list(labels)}
        if templates is not None:
            fields["templates"] = list(templates)
        subject = subject_of(image)
        return self._ask("/v1/classify", _classification, subject, fields, model=model, deadline_s=deadline_s)

    def match(
        self,
        image: ImageSource | None,
        texts: Sequence[str],
        *,
        regions: RegionSource | None = None,
        model: str | None = None,
        deadline_s: float | None = None,
    ) -> Matches:
        """How well each text fits the picture; other arguments and errors as `vqa`."""
        subject, fields = subject_of(image, regions), {"texts": list(texts)}
        return self._ask("/v1/match", _matches, subject, fields, model=model, deadline_s=deadline_s)

    def regions(
        self,
        image: ImageSource,
        *,
        features: bool = False,
        model: str | None = None,
        deadline_s: float | None = None,
    ) -> FoundRegions:
        """Find what a picture shows where; other arguments and errors as `vqa`.

        Args:
            features: whether their features are wanted, too; `FoundRegions.to_send` then makes of all what may be sent
                in place of the picture.
        """
        return self._ask(
            "/v1/regions",
            lambda body, headers: found_regions(body, timings_of(headers)),
            subject_of(image),
            {"features": features},
            model=model,
            deadline_s=deadline_s,
        )

    def embed(
        self,
        items: Sequence[str | ImageItem],
        *,
        dimensions: int | None = None,
        model: str | None = None,
        deadline_s: float | None = None,
    ) -> Embeddings:
        """Make vectors of texts and pictures, mixed as they come; errors as `vqa`.

        Args:
            items: a str is a text; `picture(...)` makes an item of a picture.
            dimensions: shorter vectors, where the model allows them.
        """
        body: dict[str, Any] = {"input": [_embed_item(item) for item in items], "encoding_format": "base64"}
        if dimensions is not None:
            body["dimensions"] = dimensions
        if model is not None:
            body["model"] = model
        return self._connection.call(
            "POST", "/v1/embeddings", _embeddings, json=body, headers=deadline_headers(deadline_s)
        )

    def collection(self, name: str) -> Collection:
        """A collection by its name; asks the server nothing yet."""
        return Collection(self._connection, name)

    def collections(self) -> tuple[CollectionInfo, ...]:
        """All collections of the server, by name.

        Raises:
            VlpClientError: see `vlp_client.errors`.
        """
        return self._connection.call(
            "GET", "/v1/collections", lambda body, _: tuple(collection_info(item) for item in body["collections"])
        )

    @property
    def admin(self) -> ModelAdmin:
        """Which versions of its models the server serves; asks it nothing yet."""
        return ModelAdmin(self._connection)

    def models(self) -> tuple[ModelInfo, ...]:
        """The served models, the default one first.

        Raises:
            VlpClientError: see `vlp_client.errors`.
        """
        return self._connection.call(
            "GET", "/v1/models", lambda body, _: tuple(_model_info(item) for item in body["data"])
        )

    def ready(self) -> bool:
        """Whether the server takes requests now.

        Raises:
            VlpClientError: there is no server, or something else answers.
        """
        response = self._connection.request("GET", "/readyz")
        if response.status_code not in (200, 503):
            raise server_error(response)
        return response.status_code == 200

    def close(self) -> None:
        """Close all connections."""
        self._connection.close()

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


def _vqa_reply(body: Mapping[str, Any], headers: httpx.Headers) -> VqaAnswers | VqaResults:
    if "answers" in body:
        return VqaAnswers(body["model"], _answers(body["answers"]), timings_of(headers))
    results = tuple(QuestionResult(item["question"], _answers(item["answers"])) for item in body["results"])
    return VqaResults(body["model"], results, timings_of(headers))


def _answers(items: list[dict[str, Any]]) -> tuple[Answer, ...]:
    return tuple(Answer(str(item["answer"]), float(item["score"])) for item in items)


def _classification(body: Mapping[str, Any], headers: httpx.Headers) -> Classification:
    scores = tuple(LabelScore(str(item["label"]), float(item["score"])) for item in body["scores"])
    return Classification(body["model"], scores, timings_of(headers))


def _matches(body: Mapping[str, Any], headers: httpx.Headers) -> Matches:
    return Matches(body["model"], tuple(map(_text_score, body["scores"])), timings_of(headers))


def _text_score(item: Mapping[str, Any]) -> TextScore:
    itc = item.get("itc")
    return TextScore(str(item["text"]), float(item["score"]), float(item["itm"]), None if itc is None else float(itc))


def _embed_item(item: str | ImageItem) -> str | dict[str, str]:
    return item if isinstance(item, str) else {"image": item.encoded}


def _embeddings(body: Mapping[str, Any], headers: httpx.Headers) -> Embeddings:
    ordered = sorted(body["data"], key=lambda item: int(item["index"]))
    vectors = tuple(read_base64(item["embedding"]) for item in ordered)
    return Embeddings(body["model"], vectors, timings_of(headers))


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
