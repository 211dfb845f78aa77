"""The HTTP API as this client speaks it: calls -> requests, answers -> replies or errors. Sends nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from vlp_client.calls import Call
from vlp_client.errors import UNKNOWN_KIND, ConnectError, ProtocolError, ServerError, TimeoutError, error_class
from vlp_client.replies import Reply
from vlp_client.retry_after import seconds_of
from vlp_client.timeouts import Span
from vlp_client.wire_values import json_default

_COLLECTION = "/v1/collections/{name}"
_ITEM = f"{_COLLECTION}/items/{{item_id}}"
_MODEL = "/v1/admin/models/{name}"
ROUTES: Mapping[str, tuple[str, str]] = {
    "vqa": ("POST", "/v1/vqa"),
    "classify": ("POST", "/v1/classify"),
    "match": ("POST", "/v1/match"),
    "regions": ("POST", "/v1/regions"),
    "embed": ("POST", "/v1/embeddings"),
    "caption": ("POST", "/v1/caption"),
    "stream_caption": ("POST", "/v1/caption"),
    "entailment": ("POST", "/v1/entailment"),
    "reasoning": ("POST", "/v1/reasoning"),
    "grounding": ("POST", "/v1/grounding"),
    "models": ("GET", "/v1/models"),
    "ready": ("GET", "/readyz"),
    "collections": ("GET", "/v1/collections"),
    "create_collection": ("PUT", _COLLECTION),
    "collection": ("GET", _COLLECTION),
    "drop_collection": ("DELETE", _COLLECTION),
    "add_items": ("POST", f"{_COLLECTION}/items"),
    "lookup_items": ("POST", f"{_COLLECTION}/items/lookup"),
    "item": ("GET", _ITEM),
    "item_image": ("GET", f"{_ITEM}/image"),
    "delete_item": ("DELETE", _ITEM),
    "search": ("POST", f"{_COLLECTION}/search"),
    "model_versions": ("GET", "/v1/admin/models"),
    "load_model": ("POST", f"{_MODEL}/load"),
    "switch_model": ("POST", f"{_MODEL}/switch"),
    "rollback_model": ("POST", f"{_MODEL}/rollback"),
    "unload_model": ("POST", f"{_MODEL}/unload"),
}
_OF_BODY = ("content-encoding", "content-length", "transfer-encoding")
_JSON = {"Content-Type": "application/json"}
# Before a word of the request went out: the call surely did not arrive.
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


def request_content(call: Call[Any], span: Span) -> dict[str, Any]:
    """What httpx's `build_request` takes for a call, the address apart."""
    headers: dict[str, str] = {}
    if call.deadline_s is not None or span.end is not None:
        headers["X-Request-Timeout-Ms"] = str(max(1, round(1000 * (span.deadline_s or 0.0))))
    if call.idempotency_key is not None:
        headers["Idempotency-Key"] = call.idempotency_key
    timeout = httpx.Timeout(span.read_s, connect=span.connect_s)
    if ROUTES[call.verb][0] in ("GET", "DELETE"):
        return {"headers": headers, "timeout": timeout}
    files = [] if call.subject is None else [part.file for part in call.subject.parts]
    fields = dict(call.fields)
    if call.verb == "stream_caption":
        fields["stream"] = True
    if call.subject is None or None in files:
        if call.subject is not None:
            values = [part.json_value for part in call.subject.parts]
            fields = {call.subject.json_field: values if call.subject.listed else values[0], **fields}
        text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=json_default)
        return {"headers": headers | _JSON, "timeout": timeout, "content": text.encode()}
    form = {name: _form_value(value) for name, value in fields.items()}
    parts = [(call.subject.field, file) for file in files]
    return {"headers": headers, "timeout": timeout, "data": form, "files": parts}


def request_path(call: Call[Any]) -> str:
    """The path of a call.

    Raises:
        ValueError: a name that would lead to another place.
    """
    names = {"name": call.name, "item_id": call.item_id}
    parts = {field: path_part(name) for field, name in names.items() if name is not None}
    return ROUTES[call.verb][1].format(**parts)


def path_part(name: str) -> str:
    """A name as one part of a path.

    Raises:
        ValueError: it would lead to another place: dots are not escaped, and mean the part above.
    """
    if name in ("", ".", ".."):
        raise ValueError(f"{name!r} is no name that anything on a server can have")
    return quote(name, safe="")


def reply_of(call: Call[Any], response: httpx.Response) -> Reply:
    """The reply that an answer is, which has been read whole.

    Raises:
        ServerError: it is a refusal.
        ProtocolError: it is none of this API's.
    """
    if call.verb == "ready" and response.status_code in (200, 503):
        return Reply(response.status_code == 200)
    if response.status_code != 200:
        raise server_error(response)
    try:
        timings_ms = timings_of(response.headers)
        return Reply(response.content if call.verb == "item_image" else response.json(), timings_ms)
    except ValueError as error:
        raise ProtocolError(f"{response.url}: status 200 with a body that is not this API's") from error


def whole_response(response: httpx.Response, content: bytes) -> httpx.Response:
    """An answer together with its body, which has been read and decoded."""
    headers = httpx.Headers([(name, value) for name, value in response.headers.multi_items() if name not in _OF_BODY])
    return httpx.Response(response.status_code, headers=headers, content=content, request=response.request)


def network_fault(url: object, error: httpx.TransportError, *, answered: bool = False) -> ConnectError | TimeoutError:
    """What a fault of the network is to a caller.

    Args:
        url: for people.
        error: the fault.
        answered: whether the answer had begun.
    """
    if isinstance(error, httpx.ConnectTimeout):
        return ConnectError(f"{url}: no connection in time", sent=False)
    if isinstance(error, httpx.TimeoutException):
        return TimeoutError(f"{url}: no answer in time")
    told = f"{url}: {error or type(error).__name__}; is the server up?"
    return ConnectError(told, sent=answered or not isinstance(error, _UNSENT), answered=answered)


def timings_of(headers: Mapping[str, str]) -> dict[str, float]:
    """Durations of the Server-Timing header by name; entries without one are left out.

    Raises:
        ValueError: one is no number.
    """
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


def problem_error(document: Any, status: int, headers: Mapping[str, str]) -> ServerError:
    """The error that a problem document is.

    Args:
        document: whatever was sent as one.
        status: of the answer that it came with.
        headers: of that answer.
    """
    problem: Mapping[str, Any] = {}
    document = _of_openai(document)
    try:
        kind, message = str(document["kind"]), str(document["detail"])
        problem = document
    except (KeyError, TypeError):
        kind = UNKNOWN_KIND
        message = f"status {status} without a problem document; is this the server's address?"
    return error_class(kind, status)(
        message,
        kind=kind,
        status=status,
        field=problem.get("field"),
        request_id=problem.get("request_id") or headers.get("X-Request-Id"),
        retry_after_s=seconds_of(problem.get("retry_after_s", headers.get("Retry-After"))),
    )


def _of_openai(document: Any) -> Any:
    """A document of OpenAI's shape as a problem; others, and those that are both, as they are."""
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict) or "kind" in document:
        return document
    return {"kind": error.get("code"), "detail": error.get("message"), "field": error.get("param")}


def _form_value(value: Any) -> Any:
    return json.dumps(value, default=json_default) if isinstance(value, list | dict) else value
