"""The SDK's captions against the door: whole, word by word, and over a real socket where time matters."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgi_bridge import AsgiBridge, LoopThread
from listening_door import ListeningDoor
from vlp_client import CapacityError, CaptionAnswer, Client, RequestError, ScoredCaption, ServerError
from vlp_server.config import ServerConfig
from vlp_server.http.app import create_app
from vlp_spec.errors import InferenceError, InvalidImageError, OverloadedError
from vlp_spec.tasks import CaptionQuery, Decoding

PICTURE = b"\x89 not looked at by the door"
BEST = (ScoredCaption("a red boat", 0.75), ScoredCaption("a boat", 0.25))


@pytest.fixture
def client(scripted: Any) -> Iterator[Client]:
    loop = LoopThread()
    with Client("http://server", transport=AsgiBridge(create_app(scripted, ServerConfig()), loop)) as client:
        yield client
    loop.close()


def test_the_whole_answer(client: Client, scripted: Any) -> None:
    reply = client.caption(
        PICTURE, "a photo of", max_tokens=12, min_tokens=2, num_captions=3, temperature=1e-5, top_p=0.5, seed=0
    )
    assert isinstance(reply, CaptionAnswer)
    assert (reply.model, reply.captions, reply.best) == ("scripted@1", BEST, "a red boat")
    assert reply.timings_ms["infer"] == 2.5
    decoding = Decoding(max_tokens=12, min_tokens=2, temperature=1e-5, top_p=0.5, seed=0)
    assert scripted.calls[0]["queries"] == [CaptionQuery("a photo of", 3, decoding)]
    assert client.caption(PICTURE, num_beams=2, length_penalty=-1.5, model="m").best == "a red boat"
    assert scripted.calls[1]["queries"] == [CaptionQuery(decoding=Decoding(num_beams=2, length_penalty=-1.5))]
    assert scripted.calls[1]["model"] == "m"


def test_word_by_word(client: Client, scripted: Any) -> None:
    with client.stream_caption(PICTURE, num_beams=1, model="m", deadline_s=20.0) as words:
        assert words.answer is None
        assert list(words) == ["a red", " boat"]
        assert words.answer is not None
        assert (words.answer.model, words.answer.captions) == ("scripted@1", BEST)
        assert words.answer.timings_ms["infer"] == 2.5
        assert list(words) == []
    (call,) = scripted.calls
    assert (call["image"], call["queries"]) == (PICTURE, [CaptionQuery(decoding=Decoding(num_beams=1))])
    assert call["model"] == "m"
    assert call["deadline"] is not None


def test_a_refusal_is_raised_by_the_call(client: Client, scripted: Any) -> None:
    with pytest.raises(RequestError, match="max_tokens: got 0") as caught:
        client.stream_caption(PICTURE, max_tokens=0)
    assert (caught.value.field, caught.value.status) == ("max_tokens", 400)
    scripted.steps = [InvalidImageError("image: broken")]
    with pytest.raises(RequestError, match="image: broken") as caught:
        client.stream_caption(PICTURE)
    assert (caught.value.kind, caught.value.status) == ("invalid_image", 422)


def test_a_fault_in_the_middle_is_raised_between_the_words(client: Client, scripted: Any) -> None:
    scripted.steps = ["a red", OverloadedError("full", retry_after_s=1.5)]
    words = client.stream_caption(PICTURE)
    assert next(words) == "a red"
    with pytest.raises(CapacityError, match="full") as caught:
        next(words)
    error = caught.value
    assert (error.kind, error.status, error.retry_after_s) == ("overloaded", 429, 1.5)
    assert error.request_id
    assert words.answer is None
    scripted.steps = ["a red", InferenceError("this picture made the model fail")]
    with pytest.raises(ServerError) as caught_ours:
        list(client.stream_caption(PICTURE))
    assert type(caught_ours.value) is ServerError


class Held:
    """A step that is not done before it is told, from any thread."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()

    async def __call__(self) -> None:
        self.entered.set()
        while not self.go_on.is_set():
            await asyncio.sleep(0.001)


def test_over_a_socket_the_words_come_one_by_one(scripted: Any) -> None:
    step = Held()
    scripted.steps = ["a red", step, " boat"]
    with ListeningDoor(scripted) as listening, Client(listening.url, timeout_s=10) as client:
        words = client.stream_caption(PICTURE)
        assert next(words) == "a red"
        assert not step.go_on.is_set()
        step.go_on.set()
        assert list(words) == [" boat"]
        assert words.answer is not None
        assert client.caption(PICTURE).best == "a red boat"  # the connection is whole, and may be used again


def test_closing_early_ends_the_writing(scripted: Any) -> None:
    step = Held()
    scripted.steps = ["a red", step, "never"]
    with ListeningDoor(scripted) as listening, Client(listening.url, timeout_s=10) as client:
        with client.stream_caption(PICTURE) as words:
            assert next(words) == "a red"
            assert step.entered.wait(10)
        assert next(words, None) is None
        assert words.answer is None

        async def left() -> None:
            async with asyncio.timeout(10):
                while scripted.left != 1 or listening.door.room.inside:
                    await asyncio.sleep(0.001)

        listening.loop.run(left())
    assert not step.go_on.is_set()


def test_a_stop_of_the_server_is_raised_between_the_words(scripted: Any) -> None:
    step = Held()
    scripted.steps = ["a red", step]
    with ListeningDoor(scripted, drain_timeout_s=0.05) as listening, Client(listening.url, timeout_s=10) as client:
        words = client.stream_caption(PICTURE)
        assert next(words) == "a red"
        listening.stop()
        with pytest.raises(CapacityError, match="the server stopped before") as caught:
            next(words)
        assert (caught.value.kind, caught.value.status) == ("unavailable", 503)
        assert scripted.left == 1


def test_a_stop_waits_for_words_that_come_in_time(scripted: Any) -> None:
    step = Held()
    scripted.steps = ["a red", step, " boat"]
    with ListeningDoor(scripted) as listening, Client(listening.url, timeout_s=10) as client:
        words = client.stream_caption(PICTURE)
        assert next(words) == "a red"
        stopping = threading.Thread(target=listening.stop)
        stopping.start()
        step.go_on.set()
        assert list(words) == [" boat"]
        stopping.join()
        assert words.answer is not None
