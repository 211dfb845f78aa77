"""Captions that Triton writes: piece by piece, of a server that may go away meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from triton_rig import TERMS, attached, calls
from triton_standin import Call, Fault, TritonStandIn, words
from vlp_server.engines.base import CallTerms, TaskCall
from vlp_server.engines.triton import TritonEngine
from vlp_spec.errors import (
    DeadlineError,
    InferenceError,
    InternalError,
    InvalidImageError,
    OverloadedError,
    UnavailableError,
    VlpError,
)
from vlp_spec.tasks import Task

CAPTION = TaskCall(Task.CAPTION, "m", 4, [b"picture"], [], {})
STREAMED = TaskCall(Task.CAPTION, "m", 4, [b"picture"], ["a red"], {"stream": True})


def piece(text: str) -> dict[str, np.ndarray]:
    return {"answer": words(text)}


def whole(text: str) -> dict[str, np.ndarray]:
    return {"answer": words(""), "result": words(text)}


async def told(engine: TritonEngine, call: TaskCall = STREAMED, timeout_s: float = 10.0) -> list[Any]:
    """What was told, and the error that it ended in, if any."""
    got: list[Any] = []
    try:
        async with contextlib.aclosing(engine.stream(call, CallTerms(timeout_s=timeout_s))) as news:
            async for one in news:
                got.append(one)
    except VlpError as error:
        got.append(type(error))
    return got


@pytest.fixture
async def writers(one: TritonStandIn, two: TritonStandIn) -> AsyncIterator[tuple[TritonStandIn, TritonStandIn, Any]]:
    """Two servers, of which the first is asked first, and never asked again once it has gone."""
    async with attached(one, two) as engine:
        first, second = (one, two) if engine._tries("g")._left[0].url == one.url else (two, one)
        for server in engine._watching:
            server.cancel()
        yield first, second, engine


Writers = tuple[TritonStandIn, TritonStandIn, TritonEngine]


async def test_a_caption_comes_piece_by_piece_and_last_the_whole(writers: Writers) -> None:
    first, _, engine = writers
    first.stream = lambda call: [piece("a red"), piece(" cât"), whole('{"captions": []}')]
    assert await told(engine) == ["a red", " cât", b'{"captions": []}']
    (call,) = first.calls
    assert (call.model, call.version) == ("m.caption", "4")
    assert [text.decode() for text in call.inputs["text"]] == ["a red"]
    assert all(server.in_flight == 0 for server in engine._servers)


async def test_a_caption_that_is_asked_for_whole_has_no_pieces(writers: Writers) -> None:
    first, second, engine = writers
    first.stream = second.stream = lambda call: [{"answer": words("a cat"), "result": words("{}")}]
    assert await engine.ask(CAPTION, TERMS) == [b"{}"]
    assert await told(engine, CAPTION) == [b"{}"]
    assert "text" not in first.calls[0].inputs


LOST = [("UNAVAILABLE", "Socket closed"), ("CANCELLED", "stopping"), ("NOT_FOUND", "unknown model")]


@pytest.mark.parametrize(("status", "message"), LOST)
async def test_a_caption_of_which_nothing_was_told_is_written_elsewhere(
    writers: Writers, status: str, message: str
) -> None:
    first, second, engine = writers
    first.stream = lambda call: [Fault(status, message)]
    second.stream = lambda call: [piece("a"), whole("{}")]
    assert await told(engine) == ["a", b"{}"]
    assert calls(first, second) == [1, 1]


@pytest.mark.parametrize(("status", "message"), LOST)
async def test_a_caption_of_which_something_was_told_is_not(writers: Writers, status: str, message: str) -> None:
    first, second, engine = writers
    first.stream = lambda call: [piece("a"), Fault(status, message)]
    assert await told(engine) == ["a", UnavailableError]
    assert calls(first, second) == [1, 0]


async def test_a_server_that_dies_while_it_writes_ends_the_caption(writers: Writers) -> None:
    first, second, engine = writers

    async def dying(call: Call) -> AsyncIterator[dict[str, np.ndarray]]:
        yield piece("a")
        await asyncio.Future()

    first.stream = dying
    news = engine.stream(STREAMED, TERMS)
    assert await anext(news) == "a"
    await first.stop()
    with pytest.raises(UnavailableError):
        await anext(news)
    second.stream = lambda call: [piece("b"), whole("{}")]
    assert await told(engine) == ["b", b"{}"]
    await first.start()


async def test_a_server_that_is_not_there_any_more_is_found_out_by_a_caption(writers: Writers) -> None:
    first, second, engine = writers
    await first.stop()
    second.stream = lambda call: [piece("b"), whole("{}")]
    assert await told(engine) == ["b", b"{}"]
    await first.start()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("OK", "invalid_image: no picture"), InvalidImageError),
        (Fault("OK", "boom"), InferenceError),
        (Fault("INTERNAL", "boom"), InferenceError),
        (Fault("DEADLINE_EXCEEDED", "late"), DeadlineError),
    ],
)
async def test_a_fault_of_a_caption_is_told_and_not_tried_elsewhere(
    writers: Writers, fault: Fault, kind: type[VlpError]
) -> None:
    first, second, engine = writers
    first.stream = second.stream = lambda call: [fault]
    assert await told(engine) == [kind]
    with pytest.raises(kind):
        await engine.ask(CAPTION, TERMS)
    assert sum(calls(first, second)) == 2


async def test_a_caption_that_one_has_no_room_for_is_written_elsewhere(writers: Writers) -> None:
    first, second, engine = writers
    first.stream = lambda call: [Fault("OK", "overloaded: full")]
    second.stream = lambda call: [piece("a"), whole("{}")]
    assert await told(engine) == ["a", b"{}"]
    second.stream = first.stream
    assert await told(engine) == [OverloadedError]


async def test_a_caption_has_one_deadline(writers: Writers) -> None:
    first, _, engine = writers

    async def slow(call: Call) -> AsyncIterator[dict[str, np.ndarray]]:
        yield piece("a")
        await asyncio.Future()

    first.stream = slow
    assert await told(engine, timeout_s=0.1) == ["a", DeadlineError]


async def test_a_caption_that_is_left_is_not_written_on(writers: Writers) -> None:
    first, _, engine = writers

    async def for_ever(call: Call) -> AsyncIterator[dict[str, np.ndarray]]:
        yield piece("a")
        await asyncio.Future()

    first.stream = for_ever
    async with contextlib.aclosing(engine.stream(STREAMED, TERMS)) as news:
        assert await anext(news) == "a"
    await asyncio.wait_for(first.ended.wait(), 5)
    assert all(server.in_flight == 0 for server in engine._servers)


async def test_a_caption_that_ends_without_its_end_is_a_fault_of_ours(writers: Writers) -> None:
    first, _, engine = writers
    first.stream = lambda call: [piece("a")]
    assert await told(engine) == ["a", InternalError]


async def test_nobody_can_write_a_caption(writers: Writers) -> None:
    first, second, engine = writers
    first.stream = second.stream = lambda call: [Fault("UNAVAILABLE", "Socket closed")]
    assert await told(engine) == [UnavailableError]
    assert calls(first, second) == [1, 1]
    assert await told(engine) == [UnavailableError]
    assert calls(first, second) == [1, 1]
