from __future__ import annotations

from typing import Any

import httpx
import pytest
from vlp_client import CapacityError, ConnectError, ProtocolError, ServerError, TimeoutError, Timeouts
from vlp_client.server_events import EventReader
from vlp_client.sync.http_events import HttpEvents
from vlp_client.timeouts import Span

DONE = b'event: done\ndata: {"model": "m"}\n\n'


class Body(httpx.SyncByteStream):
    """Chunks of a body, then perhaps a fault of the network."""

    def __init__(self, *chunks: bytes, fault: Exception | None = None) -> None:
        self._chunks, self._fault = chunks, fault
        self.closed = False

    def __iter__(self) -> Any:
        yield from self._chunks
        if self._fault is not None:
            raise self._fault

    def close(self) -> None:
        self.closed = True


def response_of(body: Body) -> httpx.Response:
    return httpx.Response(200, stream=body, request=httpx.Request("POST", "http://server/v1/caption"))


def events_of(body: Body) -> HttpEvents:
    return HttpEvents(response_of(body), Span.starting(Timeouts(), None, None))


@pytest.mark.parametrize(
    ("text", "events"),
    [
        # From the examples of the HTML standard, section 9.2.6.
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10")]),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            [("message", "first event"), ("message", "second event"), ("message", " third event")],
        ),
        ("data\n\ndata\ndata\n\ndata:", [("message", ""), ("message", "\n")]),
        ("data:test\n\ndata: test\n\n", [("message", "test"), ("message", "test")]),
        ("event: add\ndata: 7\n\nevent: none\n\ndata: 8\n\n", [("add", "7"), ("message", "8")]),
        (": keep-alive\n\n: keep-alive\n\nretry: 3\nunknown: 4\ndata: a:b\n\n", [("message", "a:b")]),
    ],
)
def test_events_are_read_as_the_standard_says(text: str, events: list[tuple[str, str]]) -> None:
    reader = EventReader()
    read = [event for line in text.split("\n") if (event := reader.feed(line)) is not None]
    assert read == events


def test_events_may_come_in_any_pieces() -> None:
    whole = b'data: {"text": "a"}\n\n: keep-alive\n\n' + DONE
    body = Body(*(whole[index : index + 1] for index in range(len(whole))))
    assert list(events_of(body)) == [("message", {"text": "a"}), ("done", {"model": "m"})]
    assert body.closed


PROBLEM = b'{"kind": "unavailable", "detail": "stopped", "status": 503, "retry_after_s": 2, "request_id": "r"}'


def test_an_error_is_raised_after_what_came_before() -> None:
    body = Body(b'data: {"text": "a"}\n\n', b"event: error\ndata: " + PROBLEM + b"\n\n")
    events = events_of(body)
    assert next(events) == ("message", {"text": "a"})
    with pytest.raises(CapacityError, match="stopped") as caught:
        next(events)
    error = caught.value
    assert (error.kind, error.status, error.retry_after_s, error.request_id) == ("unavailable", 503, 2.0, "r")
    assert body.closed


@pytest.mark.parametrize("document", [b"{}", b'{"kind": "internal", "status": "x"}'])
def test_an_error_that_is_no_problem(document: bytes) -> None:
    with pytest.raises(ServerError) as caught:
        list(events_of(Body(b"event: error\ndata: " + document + b"\n\n")))
    assert (caught.value.kind, caught.value.status) == ("unknown", 500)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (httpx.ReadTimeout("late"), TimeoutError),
        (httpx.RemoteProtocolError("peer closed connection"), ConnectError),
        (httpx.ReadError("reset"), ConnectError),
    ],
)
def test_a_connection_that_breaks(fault: Exception, expected: type[Exception]) -> None:
    body = Body(b'data: {"text": "a"}\n\n', fault=fault)
    events = events_of(body)
    assert next(events) == ("message", {"text": "a"})
    with pytest.raises(expected):
        next(events)
    assert body.closed


@pytest.mark.parametrize("sent", [b"", b"data: {}\n\n", b"data: a\n\n" + DONE, b"data: [1]\n\n" + DONE, DONE[:-1]])
def test_what_is_no_stream_of_this_api(sent: bytes) -> None:
    body = Body(sent)
    with pytest.raises(ProtocolError):
        list(events_of(body))
    assert body.closed
