"""Every error of the tree as the doors in OpenAI's shape tell it: its status, words, and what a client makes of it."""

from __future__ import annotations

from typing import Any

import httpx
import httpx2
import openai
import pytest
from chat_bodies import user
from every_error import all_errors, make_error, raising
from vlp_client.http_wire import server_error
from vlp_server.http.problems import STATUS, DoorKind, Problem
from vlp_spec.errors import ErrorKind, StartupError, VlpError

CLASSES: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
    504: openai.InternalServerError,
    507: openai.InternalServerError,
}
SENT_AGAIN = {408, 429, 500, 503, 504, 507}


def error_of(response: httpx.Response) -> tuple[openai.APIStatusError, bool]:
    """What OpenAI's client raises for an answer, and whether it would send the request again by itself."""
    client = openai.OpenAI(base_url="http://door/v1", api_key="x")
    answer = httpx2.Response(
        response.status_code,
        headers=response.headers.raw,
        content=response.content,
        request=httpx2.Request("POST", "http://door"),
    )
    # Its own way from an answer to an error; asked through the front door it would wait between its tries.
    return client._make_status_error_from_response(answer), client._should_retry(answer)


def check(response: httpx.Response, kind: ErrorKind | DoorKind) -> None:
    """What every such answer holds."""
    status, body = response.status_code, response.json()
    assert response.headers["content-type"] == "application/json"
    assert status == STATUS[kind] == body["status"]
    error, sent_again = error_of(response)
    assert type(error) is CLASSES.get(status, openai.APIStatusError)
    assert error.type == {403: "permission_error", 429: "rate_limit_error"}.get(
        status, "server_error" if status >= 500 else "invalid_request_error"
    )
    assert error.code == {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(status, kind)
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"] == body["detail"]
    assert error.body == body["error"]
    assert sent_again == (status in SENT_AGAIN and kind is not ErrorKind.INFERENCE_FAILED)
    assert ("retry-after" in response.headers) == (status in (429, 503))
    ours = server_error(response)
    assert (ours.kind, ours.status, ours.request_id) == (kind, status, body["request_id"])


@pytest.mark.parametrize("kind", list(all_errors()), ids=lambda kind: kind.__name__)
async def test_every_error_of_the_tree(kind: type[VlpError], door: httpx.AsyncClient, scripted: Any) -> None:
    error = make_error(kind)
    scripted.behave = raising(error)
    response = await door.post("/v1/chat/completions", json={"messages": [user(b"picture", "what?")]})
    check(response, ErrorKind.INTERNAL if isinstance(error, StartupError) else error.kind)
    assert "secret" not in response.text
    assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("kind", [*ErrorKind, *DoorKind])
def test_every_kind_of_the_door(kind: ErrorKind | DoorKind) -> None:
    made = Problem(kind, "what happened", retry_after_s=2.0).openai_response("r1")
    check(httpx.Response(made.status_code, headers=made.headers.items(), content=made.body), kind)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/v1/models/dummy", 405),
        ("GET", "/v1/models/a/b", 404),
        ("PUT", "/v1/embeddings", 405),
    ],
)
async def test_what_the_framework_refuses(method: str, path: str, status: int, door: httpx.AsyncClient) -> None:
    response = await door.request(method, path)
    assert response.status_code == status
    check(response, DoorKind.NOT_FOUND if status == 404 else DoorKind.METHOD_NOT_ALLOWED)
