from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from vlp_client import CapacityError, CaptionAnswer, Client, ConnectError, ProtocolError, ScoredCaption, TimeoutError

PICTURE = b"picture"
ANSWER = {"captions": [{"text": "a red boat", "score": 1}, {"text": "a boat", "score": 0.25}], "model": "m@1"}
CAPTIONS = (ScoredCaption("a red boat", 1.0), ScoredCaption("a boat", 0.25))
WORDS = b'data: {"text": "a red"}\n\ndata: {"text": " boat"}\n\n'
DONE = f"event: done\ndata: {json.dumps({**ANSWER, 'timings_ms': {'total': 2.5}})}\n\n".encode()


class Door:
    """Answers always the same, and keeps the requests."""

    def __init__(self, answer: Callable[[], httpx.Response]) -> None:
        self.requests: list[httpx.Request] = []
        self._answer = answer
        self.client = Client("http://server/", transport=httpx.MockTransport(self._handle), retries=None)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        return self._answer()


def whole() -> Door:
    return Door(lambda: httpx.Response(200, json=ANSWER, headers={"Server-Timing": "infer;dur=2.0, total;dur=3.0"}))


def streaming(*chunks: bytes, media_type: str = "text/event-stream; charset=utf-8") -> Door:
    return Door(lambda: httpx.Response(200, headers={"Content-Type": media_type}, content=iter(chunks)))


def test_a_file_goes_as_a_form_with_what_was_given_alone() -> None:
    door = whole()
    reply = door.client.caption(PICTURE, "a", max_tokens=3, top_p=None, temperature=0.5, model="m", deadline_s=1.5)
    assert reply == CaptionAnswer("m@1", CAPTIONS, {"infer": 2.0, "total": 3.0})
    assert reply.best == "a red boat"
    (request,) = door.requests
    assert (request.method, request.url.path) == ("POST", "/v1/caption")
    assert request.headers["x-request-timeout-ms"] == "1500"
    sent = {name.decode() for name in request.content.split(b'; name="')[1:] for name in [name.partition(b'"')[0]]}
    assert sent == {"image", "prompt", "max_tokens", "temperature", "model"}
    assert b'name="temperature"\r\n\r\n0.5\r\n' in request.content


def test_a_url_goes_as_json() -> None:
    door = whole()
    door.client.caption("https://example.org/a.jpg", num_beams=3, seed=0)
    assert json.loads(door.requests[0].content) == {"image": "https://example.org/a.jpg", "num_beams": 3, "seed": 0}


def test_a_stream_asks_for_one() -> None:
    door = streaming(WORDS, DONE)
    words = door.client.stream_caption(PICTURE, "a", num_beams=1, model="m", deadline_s=1.5)
    assert b'name="stream"\r\n\r\ntrue\r\n' in door.requests[0].content
    assert b'name="model"\r\n\r\nm\r\n' in door.requests[0].content
    assert door.requests[0].headers["x-request-timeout-ms"] == "1500"
    assert list(words) == ["a red", " boat"]
    assert words.answer == CaptionAnswer("m@1", CAPTIONS, {"total": 2.5})
    door = streaming(WORDS, DONE)
    door.client.stream_caption("https://example.org/a.jpg")
    assert json.loads(door.requests[0].content) == {"image": "https://example.org/a.jpg", "stream": True}


def test_closing_early_leaves_no_words_and_no_answer() -> None:
    with streaming(WORDS, DONE).client.stream_caption(PICTURE) as words:
        assert next(words) == "a red"
    assert list(words) == []
    assert words.answer is None
    untouched = streaming(WORDS, DONE).client.stream_caption(PICTURE)
    untouched.close()
    assert list(untouched) == []


class Body(httpx.SyncByteStream):
    """A body that has no end."""

    closed = False

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield WORDS

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("read", [0, 1, 2])
def test_closing_gives_the_connection_back_however_much_was_read(read: int) -> None:
    body = Body()
    door = Door(lambda: httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=body))
    with door.client.stream_caption(PICTURE) as words:
        assert len([next(words) for _ in range(read)]) == read
        assert not body.closed
    assert body.closed


@pytest.mark.parametrize(
    "chunk",
    [
        b'data: {"words": "a"}\n\n',
        b"event: done\ndata: {}\n\n",
        b'event: done\ndata: {"captions": [], "model": "m"}\n\n',
        b'event: done\ndata: {"captions": [{"text": "a", "score": "x"}], "model": "m", "timings_ms": {}}\n\n',
        b"<html>\n\n",
    ],
)
def test_a_stream_that_is_none_of_this_api(chunk: bytes) -> None:
    words = streaming(chunk, DONE[:-1]).client.stream_caption(PICTURE)
    with pytest.raises(ProtocolError):
        list(words)
    assert list(words) == []


@pytest.mark.parametrize("body", [b"{}", b"[]", b"<html>", b'{"model": "m", "captions": [{"text": "a"}]}'])
def test_a_success_that_is_no_reply(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        Door(lambda: httpx.Response(200, content=body)).client.caption(PICTURE)
    with pytest.raises(ProtocolError, match="no stream"):
        streaming(body, media_type="application/json").client.stream_caption(PICTURE)


def test_a_refusal_is_read_whole_before_it_is_raised() -> None:
    problem = json.dumps({"kind": "overloaded", "detail": "full", "retry_after_s": 2.5, "request_id": "r"}).encode()
    headers = {"Content-Type": "application/problem+json"}
    door = Door(lambda: httpx.Response(429, headers=headers, content=iter([problem[:10], problem[10:]])))
    with pytest.raises(CapacityError, match="full") as caught:
        door.client.stream_caption(PICTURE)
    assert (caught.value.status, caught.value.retry_after_s, caught.value.request_id) == (429, 2.5, "r")


@pytest.mark.parametrize(
    ("fault", "expected"), [(httpx.ConnectError("refused"), ConnectError), (httpx.ReadTimeout("late"), TimeoutError)]
)
@pytest.mark.parametrize("in_body", [False, True])
def test_faults_of_the_network_before_the_first_word(
    fault: Exception, expected: type[Exception], in_body: bool
) -> None:
    def refused() -> Any:
        yield b"{"
        raise fault

    def answer() -> httpx.Response:
        if in_body:
            return httpx.Response(503, content=refused())
        raise fault

    with pytest.raises(expected):
        Door(answer).client.stream_caption(PICTURE)


@pytest.mark.parametrize("source", [3, None])
def test_what_is_no_picture(source: Any) -> None:
    door = whole()
    for call in (door.client.caption, door.client.stream_caption):
        with pytest.raises(TypeError, match="expected a path, URL"):
            call(source)
    assert door.requests == []
