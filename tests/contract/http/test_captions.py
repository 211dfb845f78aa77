"""Captions, whole and as they are written; the service is scripted."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from typing import Any

import httpx
import pytest
from leaving_client import LeavingClient
from vlp_server.config import HttpConfig, LimitsConfig, ServerConfig
from vlp_server.http import event_stream
from vlp_server.http.app import create_app
from vlp_spec.errors import (
    DeadlineError,
    InferenceError,
    InvalidImageError,
    OverloadedError,
    UnavailableError,
    VlpError,
)
from vlp_spec.tasks import CaptionQuery, CaptionResult, Decoding, ScoredCaption

PICTURE = b"\x89 not looked at by the door"
WHOLE = {
    "captions": [{"text": "a red boat", "score": 0.75}, {"text": "a boat", "score": 0.25}],
    "model": "scripted@1",
}
Event = tuple[str, dict[str, Any]]


def as_form(fields: dict[str, Any]) -> dict[str, Any]:
    texts = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in fields.items()}
    return {"files": {"image": ("a.jpg", PICTURE)}, "data": texts}


def as_json(fields: dict[str, Any]) -> dict[str, Any]:
    return {"json": {"image": base64.b64encode(PICTURE).decode(), **fields}}


def as_raw(fields: dict[str, Any]) -> dict[str, Any]:
    return {"content": PICTURE, "params": as_form(fields)["data"], "headers": {"Content-Type": "image/png"}}


WAYS = pytest.mark.parametrize("way", [as_form, as_json, as_raw])
STREAM = as_form({"stream": True})


def events_of(text: str) -> list[Event]:
    """Name and document of each event, comments left out; "" is the name of words."""
    events = []
    for block in text.split("\n\n")[:-1]:
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if lines:
            name = lines[0].removeprefix("event: ") if len(lines) == 2 else ""
            events.append((name, json.loads(lines[-1].removeprefix("data: "))))
    return events


@WAYS
async def test_captions_in_three_ways(way: Any, door: httpx.AsyncClient, scripted: Any) -> None:
    response = await door.post("/v1/caption", **way({}))
    assert response.json() == WHOLE
    assert response.headers["content-type"] == "application/json"
    assert "infer;dur=2.5" in response.headers["server-timing"]
    assert scripted.calls == [{"image": PICTURE, "queries": [CaptionQuery()], "model": None, "deadline": None}]


@WAYS
@pytest.mark.parametrize("stream", [False, True])
async def test_every_field_arrives(way: Any, stream: bool, door: httpx.AsyncClient, scripted: Any) -> None:
    drawing = {"temperature": 0.5, "top_p": 0.9, "seed": 2**63 - 1, "num_captions": 3, "max_tokens": 12}
    searching = {"num_beams": 4, "num_captions": 2, "length_penalty": -1, "min_tokens": 0, "model": "m"}
    for fields in ({"prompt": "a photo of", **drawing}, searching):
        assert (await door.post("/v1/caption", **way({**fields, "stream": stream}))).status_code == 200
    drawn, searched = scripted.calls
    expected = Decoding(max_tokens=12, temperature=0.5, top_p=0.9, seed=2**63 - 1)
    assert drawn["queries"] == [CaptionQuery("a photo of", 3, expected)]
    expected = Decoding(num_beams=4, length_penalty=-1.0, min_tokens=0)
    assert (searched["queries"], searched["model"]) == ([CaptionQuery("", 2, expected)], "m")


@WAYS
async def test_a_stream_has_the_words_and_then_the_whole_answer(
    way: Any, door: httpx.AsyncClient, scripted: Any
) -> None:
    response = await door.post("/v1/caption", **way({"stream": True}))
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (response.headers["cache-control"], response.headers["x-accel-buffering"]) == ("no-store", "no")
    assert "content-length" not in response.headers
    *words, (name, answer) = events_of(response.text)
    assert words == [("", {"text": "a red"}), ("", {"text": " boat"})]
    timings = answer.pop("timings_ms")
    assert (name, answer) == ("done", WHOLE)
    assert (timings["queue"], timings["infer"]) == (1.0, 2.5)
    assert timings["total"] >= 0
    assert scripted.finished == 1  # read to its end, and not left


async def test_words_are_sent_so_that_no_reader_takes_them_for_a_line_s_end(
    door: httpx.AsyncClient, scripted: Any
) -> None:
    odd = "caf\u00e9 \u2028 \x85 \r\n\n data: \U0001f6a4"
    scripted.steps = [odd]
    response = await door.post("/v1/caption", **STREAM)
    assert response.text.isascii()
    assert events_of(response.text)[0] == ("", {"text": odd})
    assert len(response.text.splitlines()) == 5


@WAYS
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 100_000}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_tokens": "abc"}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"min_tokens": -1}, "min_tokens"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens"),
        ({"num_beams": 1000}, "num_beams"),
        ({"num_beams": 0}, "num_beams"),
        ({"num_captions": 17}, "num_captions"),
        ({"num_captions": 0}, "num_captions"),
        ({"num_captions": 3, "num_beams": 2}, "num_captions"),
        ({"length_penalty": 1e30}, "length_penalty"),
        ({"temperature": "nan"}, "temperature"),
        ({"temperature": "inf"}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -0.5}, "temperature"),
        ({"temperature": 0.5, "num_beams": 2}, "num_beams"),
        ({"top_p": 0, "temperature": 1}, "top_p"),
        ({"top_p": 0.5}, "top_p"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"stream": "maybe"}, "stream"),
        ({"model": " "}, "model"),
        ({"colour": "red"}, "colour"),
        ({"regions": "x"}, "regions"),
    ],
    ids=str,
)
async def test_bad_fields_are_named(
    way: Any, stream: bool, fields: dict[str, Any], at_fault: str, door: httpx.AsyncClient, scripted: Any
) -> None:
    response = await door.post("/v1/caption", **way({"stream": stream, **fields}))
    body = response.json()
    assert (response.status_code, body["kind"], body["field"]) == (400, "invalid_argument", at_fault), body
    assert response.headers["content-type"] == "application/problem+json"
    assert scripted.calls == []


@pytest.mark.parametrize(
    ("number", "at_fault"), [("NaN", None), ("Infinity", None), ("1e999", "temperature"), ("1" * 400, "temperature")]
)
async def test_json_without_a_number(number: str, at_fault: str | None, door: httpx.AsyncClient) -> None:
    body = f'{{"image": "{base64.b64encode(PICTURE).decode()}", "temperature": {number}}}'
    response = await door.post("/v1/caption", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["kind"]) == (400, "invalid_argument")
    assert response.json().get("field") == at_fault


async def test_a_prompt_that_is_too_long(door_with: Any, scripted: Any) -> None:
    async with door_with(ServerConfig(limits=LimitsConfig(text_chars=5))) as client:
        told = await client.post("/v1/caption", **as_form({"prompt": "x" * 6, "stream": True}))
        right = await client.post("/v1/caption", **as_form({"prompt": "x" * 5}))
    assert (told.status_code, told.json()["kind"], right.status_code) == (413, "too_large", 200)
    assert len(scripted.calls) == 1


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (InvalidImageError("image: broken"), 422),
        (OverloadedError("the queue is full", retry_after_s=2.0), 429),
        (UnavailableError("loading"), 503),
        (DeadlineError("late"), 504),
        (InferenceError("this picture made the model fail"), 500),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
async def test_what_is_refused_before_the_first_word_keeps_its_status(
    fault: VlpError, status: int, door: httpx.AsyncClient, scripted: Any
) -> None:
    scripted.steps = [fault, "never"]
    response = await door.post("/v1/caption", **STREAM)
    body = response.json()
    assert (response.status_code, body["kind"], body["detail"]) == (status, fault.kind, fault.message)
    assert response.headers["content-type"] == "application/problem+json"
    assert ("retry-after" in response.headers) == (status in (429, 503))
    assert body["request_id"] == response.headers["x-request-id"]


async def test_a_fault_in_the_middle_is_the_last_event(door: httpx.AsyncClient, scripted: Any) -> None:
    scripted.steps = ["a red", OverloadedError("the queue is full", retry_after_s=2.0), "never"]
    response = await door.post("/v1/caption", **STREAM)
    assert response.status_code == 200
    words, (name, problem) = events_of(response.text)
    assert words == ("", {"text": "a red"})
    assert (name, problem) == (
        "error",
        {
            "type": "urn:vlpserve:problem:overloaded",
            "title": "Overloaded",
            "status": 429,
            "detail": "the queue is full",
            "kind": "overloaded",
            "request_id": response.headers["x-request-id"],
            "retry_after_s": 2.0,
        },
    )
    metrics = (await door.get("/metrics")).text
    counted = 'vlpserve_http_requests_total{kind="overloaded",method="POST",route="/v1/caption",status="200"} 1.0'
    assert counted in metrics.splitlines()
    scripted.steps = ["a"]
    assert events_of((await door.post("/v1/caption", **STREAM)).text)[-1][0] == "done"


NO_NUMBER = CaptionResult((ScoredCaption("a", float("nan")),))


@pytest.mark.parametrize(
    ("steps", "result"),
    [(["a", RuntimeError("a secret")], None), (["a"], None), (["a"], NO_NUMBER)],
    ids=["unknown fault", "no answer", "NaN"],
)
async def test_what_nobody_expects_is_told_without_the_inside(
    steps: Any, result: Any, door: httpx.AsyncClient, scripted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.steps, scripted.result = steps, result
    with caplog.at_level(logging.ERROR):
        response = await door.post("/v1/caption", **STREAM)
    _, (name, problem) = events_of(response.text)
    assert (name, problem["kind"], problem["status"]) == ("error", "internal", 500)
    assert "secret" not in response.text
    assert [record for record in caplog.records if record.exc_info]


async def test_an_answer_without_a_first_word_is_one_event(door: httpx.AsyncClient, scripted: Any) -> None:
    scripted.steps = []
    ((name, answer),) = events_of((await door.post("/v1/caption", **STREAM)).text)
    assert (name, answer["captions"]) == ("done", WHOLE["captions"])


async def test_what_waits_says_that_it_is_still_there(
    door: httpx.AsyncClient, scripted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "KEEP_ALIVE_S", 0.01)

    async def wait() -> None:
        await asyncio.sleep(0.1)

    scripted.steps = [wait, "a red", wait, " boat"]
    text = (await door.post("/v1/caption", **STREAM)).text
    assert text.startswith('data: {"text": "a red"}\n\n: keep-alive\n\n: keep-alive\n\n')
    assert [name for name, _ in events_of(text)] == ["", "", "done"]


async def test_a_picture_behind_a_url_that_may_not_be_fetched(door: httpx.AsyncClient, scripted: Any) -> None:
    response = await door.post("/v1/caption", json={"image": "https://example.org/a.jpg", "stream": True})
    assert (response.status_code, response.json()["field"]) == (400, "image")
    assert scripted.calls == []


class Held:
    """A step that is not done before it is told."""

    def __init__(self) -> None:
        self.entered, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> None:
        self.entered.set()
        await self.go_on.wait()


QUERY: Any = {"content_type": "image/png", "query": b"stream=true"}


def leaving(scripted: Any, gone: asyncio.Event) -> tuple[Any, LeavingClient]:
    app = create_app(scripted, ServerConfig())
    return app.state.door, LeavingClient(app, gone)


async def test_words_are_sent_as_they_come(scripted: Any) -> None:
    step = Held()
    scripted.steps = ["a red", step, " boat"]
    _, client = leaving(scripted, asyncio.Event())
    async with asyncio.timeout(10):
        request = asyncio.create_task(client.post("/v1/caption", PICTURE, **QUERY))
        await step.entered.wait()
        while not client.chunks:
            await asyncio.sleep(0)
        assert client.chunks == [b'data: {"text": "a red"}\n\n']
        assert not client.whole
        step.go_on.set()
        await request
    assert len(client.chunks) == 3
    assert client.whole


async def test_before_the_first_word_nothing_is_sent(scripted: Any) -> None:
    step = Held()
    scripted.steps = [step, InferenceError("no")]
    _, client = leaving(scripted, asyncio.Event())
    async with asyncio.timeout(10):
        request = asyncio.create_task(client.post("/v1/caption", PICTURE, **QUERY))
        await step.entered.wait()
        await asyncio.sleep(0.01)
        assert client.statuses == []
        step.go_on.set()
        await request
    assert client.statuses == [500]


@pytest.mark.parametrize(("steps", "status"), [([], 499), (["a red"], 200)])
async def test_a_client_that_goes_away_ends_the_writing(steps: list[Any], status: int, scripted: Any) -> None:
    step, gone = Held(), asyncio.Event()
    scripted.steps = [*steps, step, "never"]
    door, client = leaving(scripted, gone)
    async with asyncio.timeout(10):
        request = asyncio.create_task(client.post("/v1/caption", PICTURE, **QUERY))
        await step.entered.wait()
        while len(client.chunks) < len(steps):
            await asyncio.sleep(0)
        gone.set()
        await request
    assert client.statuses == [status]
    assert b"never" not in b"".join(client.chunks)
    assert (scripted.left, door.room.inside) == (1, 0)


async def test_a_stop_of_the_server_in_the_middle_is_told(scripted: Any) -> None:
    step = Held()
    scripted.steps = ["a red", step]
    door, client = leaving(scripted, asyncio.Event())
    async with asyncio.timeout(10):
        request = asyncio.create_task(client.post("/v1/caption", PICTURE, **QUERY))
        await step.entered.wait()
        while not client.chunks:
            await asyncio.sleep(0)
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
    words, (name, problem) = events_of(b"".join(client.chunks).decode())
    assert (words[1], name, problem["kind"], problem["status"]) == ({"text": "a red"}, "error", "unavailable", 503)
    assert client.whole
    assert (scripted.left, door.room.inside) == (1, 0)


async def test_a_stop_before_the_first_word_is_an_answer_of_its_own(scripted: Any) -> None:
    step = Held()
    scripted.steps = [step]
    door, client = leaving(scripted, asyncio.Event())
    async with asyncio.timeout(10):
        request = asyncio.create_task(client.post("/v1/caption", PICTURE, **QUERY))
        await step.entered.wait()
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
    assert client.statuses == [503]
    assert (scripted.left, door.room.inside) == (1, 0)


async def test_a_stream_counts_as_inside_until_its_end(door_with: Any, scripted: Any) -> None:
    seen: list[float] = []

    async def look() -> None:
        text = (await client.get("/metrics")).text
        seen.append(float(text.partition("\nvlpserve_http_in_flight ")[2].partition("\n")[0]))
        seen.append((await client.post("/v1/caption", **STREAM)).status_code)

    scripted.steps = ["a", look]
    async with door_with(ServerConfig(http=HttpConfig(max_in_flight=1))) as client:
        assert (await client.post("/v1/caption", **STREAM)).status_code == 200
        assert seen == [1.0, 429]
        scripted.steps = []
        assert (await client.post("/v1/caption", **STREAM)).status_code == 200
