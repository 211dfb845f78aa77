from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import vlp_client
from vlp_client import (
    CapacityError,
    Client,
    ConnectError,
    ProtocolError,
    RequestError,
    ServerError,
    TimeoutError,
    VlpClientError,
)

GOOD = {"model": "m@1", "answers": [{"answer": "red", "score": 1}]}


def client_of(answer: Callable[[httpx.Request], httpx.Response]) -> Client:
    return Client("http://server/", transport=httpx.MockTransport(answer), retries=None)


def answering(status: int, **content: Any) -> Client:
    return client_of(lambda request: httpx.Response(status, **content))


def test_what_is_sent_for_a_file(tmp_path: Path) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json=GOOD)

    path = tmp_path / "photo.jpg"
    path.write_bytes(b"bytes of a photo")
    with client_of(answer) as client:
        reply = client.vqa(path, "what?", top_k=2, answers=["[a", "b"], model="m", deadline_s=1.5)
    assert reply.best == "red"
    (request,) = sent
    assert (request.method, str(request.url)) == ("POST", "http://server/v1/vqa")
    assert request.headers["content-type"].startswith("multipart/form-data")
    assert request.headers["x-request-timeout-ms"] == "1500"
    body = request.read()
    assert b'name="image"; filename="photo.jpg"' in body
    assert b"bytes of a photo" in body
    assert b'["[a", "b"]' in body


def test_a_key_goes_with_every_request_and_none_without() -> None:
    sent: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.headers.get("authorization"))
        return httpx.Response(200, json={**GOOD, "collections": [], "data": []})

    for key in (None, "vlp_secret"):
        with Client("http://server/", api_key=key, transport=httpx.MockTransport(answer)) as client:
            client.vqa(b"photo", "what?")
            client.collections()
            client.ready()
        assert "secret" not in repr(client)
    assert sent == [None] * 3 + ["Bearer vlp_secret"] * 3


@pytest.mark.parametrize("key", ["", "a b", "vlp_secret\n", "vlp_secret\r\nX-Other: 1", "schlüssel"])
def test_what_cannot_be_a_key_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ValueError, match="the API key: expected visible ASCII") as caught:
        Client("http://server/", api_key=key)
    assert "secret" not in str(caught.value)


def test_a_url_is_sent_as_a_url() -> None:
    sent: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.read()))
        return httpx.Response(200, json=GOOD)

    with client_of(answer) as client:
        client.vqa("HTTPS://example.org/a.jpg", "what?")
    assert sent == [{"image": "HTTPS://example.org/a.jpg", "top_k": 5, "question": "what?"}]


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("invalid_argument", 400, RequestError),
        ("too_large", 413, RequestError),
        ("overloaded", 429, CapacityError),
        ("deadline_exceeded", 504, CapacityError),
        ("inference_failed", 500, ServerError),
        ("a_kind_of_the_future", 418, ServerError),
    ],
)
def test_errors_by_kind(kind: str, status: int, expected: type[ServerError]) -> None:
    problem = {"kind": kind, "detail": "why", "request_id": "r1", "field": "image", "retry_after_s": 2.5}
    with answering(status, json=problem) as client, pytest.raises(ServerError) as caught:
        client.vqa(b"x", "what?")
    error = caught.value
    assert type(error) is expected
    assert (str(error), error.kind, error.status, error.request_id) == ("why", kind, status, "r1")
    assert (error.field, error.retry_after_s) == ("image", 2.5)


def test_a_refusal_of_openais_shape() -> None:
    error = {"message": "why", "type": "invalid_request_error", "param": "input", "code": "invalid_image"}
    with answering(422, json={"error": error}) as client, pytest.raises(RequestError, match="why") as caught:
        client.embed(["a"])
    assert (caught.value.kind, caught.value.status, caught.value.field) == ("invalid_image", 422, "input")


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None)])
def test_an_answer_of_something_in_between(header: str, seconds: float | None) -> None:
    headers = {"Retry-After": header, "X-Request-Id": "r2"}
    with answering(502, text="<html>", headers=headers) as client, pytest.raises(ServerError) as caught:
        client.models()
    assert (caught.value.kind, caught.value.status) == ("unknown", 502)
    assert (caught.value.retry_after_s, caught.value.request_id) == (seconds, "r2")


@pytest.mark.parametrize("body", ["<html>", "[]", '{"model": "m"}', '{"answers": [{}], "model": "m"}'])
def test_a_success_that_is_no_reply(body: str) -> None:
    with answering(200, text=body) as client, pytest.raises(ProtocolError):
        client.vqa(b"x", "what?")


def test_a_list_of_models_that_is_none() -> None:
    with answering(200, json={"data": [{}]}) as client, pytest.raises(ProtocolError):
        client.models()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [(httpx.ConnectError("refused"), ConnectError), (httpx.ReadTimeout("late"), TimeoutError)],
)
def test_faults_of_the_network(fault: Exception, expected: type[Exception]) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise fault

    with client_of(answer) as client, pytest.raises(expected) as caught:
        client.vqa(b"x", "what?")
    assert isinstance(caught.value, VlpClientError)
    assert isinstance(caught.value, builtins.TimeoutError) == (expected is TimeoutError)


def test_ready() -> None:
    assert answering(200).ready() is True
    assert answering(503).ready() is False
    with pytest.raises(ServerError):
        answering(404).ready()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with answering(200) as client, pytest.raises(FileNotFoundError):
        client.vqa(tmp_path / "none.jpg", "what?")


@pytest.mark.parametrize("source", [3, None])
def test_what_is_no_picture(source: Any) -> None:
    with answering(200) as client, pytest.raises(TypeError, match="expected a path, URL"):
        client.vqa(source, "what?")


def test_a_file_open_as_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a")
    with path.open() as file, answering(200) as client, pytest.raises(TypeError, match="mode 'rb'"):
        client.vqa(file, "what?")  # type: ignore[call-overload]


def test_the_public_names_are_sorted_and_there() -> None:
    assert vlp_client.__all__ == sorted(vlp_client.__all__)
    assert all(hasattr(vlp_client, name) for name in vlp_client.__all__)
