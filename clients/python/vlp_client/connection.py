"""One server's HTTP: requests out, answers or errors back. Knows no task."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from vlp_client.errors import UNKNOWN_KIND, ConnectError, ProtocolError, ServerError, TimeoutError, error_class

_KEY = re.compile(r"[!-~]+")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

T = TypeVar("T")


class Connection:
    """Talks to one server; usable from several threads.

    Args:
        url: of the server.
        api_key: sent with every request; None where the server asks for none.
        timeout_s: for connecting, and for each wait for bytes of an answer.
        transport: in place of the network.

    Raises:
        ValueError: the key cannot be one.
    """

    def __init__(
        self, url: str, *, api_key: str | None, timeout_s: float, transport: httpx.BaseTransport | None
    ) -> None:
        base = httpx.URL(url)
        # A proxy of the environment cannot reach this machine's own server.
        self._http = httpx.Client(
            base_url=base,
            headers={} if api_key is None else _key_header(api_key),
            timeout=timeout_s,
            transport=transport,
            trust_env=base.host not in _LOOPBACK,
        )

    def call(self, method: str, path: str, read: Callable[[Any, httpx.Headers], T], **content: Any) -> T:
        """Send a request and read its answer.

        Args:
            read: (JSON, headers) -> result; whatever it lacks makes the answer none of this API's.

        Raises:
            VlpClientError: see `vlp_client.errors`.
        """
        response = self.send(method, path, **content)
        try:
            return read(response.json(), response.headers)
        except (ValueError, KeyError, TypeError) as error:
            raise _unreadable(response) from error

    def send(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Send a request; an answer other than 200 is raised."""
        response = self.request(method, path, **content)
        if response.status_code != 200:
            raise server_error(response)
        return response

    def stream(self, method: str, path: str, **content: Any) -> httpx.Response:
        """As `send`, for an answer whose body is not read yet; to be closed by the caller."""
        with self._told_faults():
            response = self._http.send(self._http.build_request(method, path, **content), stream=True)
            if response.status_code == 200:
                return response
            try:
                response.read()
            finally:
                response.close()
        raise server_error(response)

    def request(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Send a request; any answer is returned."""
        with self._told_faults():
            return self._http.request(method, path, **content)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    @contextmanager
    def _told_faults(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise TimeoutError(f"{self._http.base_url}: no answer in time") from error
        except httpx.TransportError as error:
            raise ConnectError(f"{self._http.base_url}: {error or type(error).__name__}; is the server up?") from error


def _key_header(api_key: str) -> dict[str, str]:
    if not _KEY.fullmatch(api_key):
        # Not with the key: what is said here may end in a log.
        raise ValueError("the API key: expected visible ASCII characters without spaces")
    return {"Authorization": f"Bearer {api_key}"}


def path_part(name: str) -> str:
    """A name as one part of a path.

    Raises:
        ValueError: it would lead to another place: dots are not escaped, and mean the part above.
    """
    if name in ("", ".", ".."):
        raise ValueError(f"{name!r} is no name that anything on a server can have")
    return quote(name, safe="")


def deadline_headers(deadline_s: float | None) -> dict[str, str]:
    """The header that tells the server how long its caller waits."""
    return {} if deadline_s is None else {"X-Request-Timeout-Ms": str(max(1, round(deadline_s * 1000)))}


def timings_of(headers: httpx.Headers) -> dict[str, float]:
    """Durations of the Server-Timing header by name; entries without one are left out."""
    timings: dict[str, float] = {}
    for entry in headers.get("Server-Timing", "").split(","):
        name, *parameters = (part.strip() for part in entry.split(";"))
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key == "dur":
                timings[name] = float(value)
    return timings


def server_error(response: httpx.Response) -> ServerError:
    """The error that an answer is; an answer that is no problem document came from something in between."""
    try:
        problem = response.json()
    except ValueError:
        problem = None
    return problem_error(problem, response.status_code, response.headers)


def problem_error(document: Any, status: int, headers: httpx.Headers) -> ServerError:
    """The error that a problem document is.

    Args:
        document: whatever was sent as one.
        status: of the answer that it came with.
        headers: of that answer.
    """
    problem: Mapping[str, Any] = {}
    try:
        kind, message = str(document["kind"]), str(document["detail"])
        problem = document
    except (KeyError, TypeError):
        kind = UNKNOWN_KIND
        message = f"status {status} without a problem document; is this the server's address?"
    retry_after = problem.get("retry_after_s", headers.get("Retry-After"))
    try:
        retry_after_s = None if retry_after is None else float(retry_after)
    except ValueError:  # Retry-After may also be a date
        retry_after_s = None
    return error_class(kind)(
        message,
        kind=kind,
        status=status,
        field=problem.get("field"),
        request_id=problem.get("request_id") or headers.get("X-Request-Id"),
        retry_after_s=retry_after_s,
    )


def _unreadable(response: httpx.Response) -> ProtocolError:
    return ProtocolError(f"{response.url}: status {response.status_code} with a body that is not this API's")
