"""Bulk runs of both twins against a server of a few lines."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
from vlp_client import (
    AsyncClient,
    CapacityError,
    Client,
    ConnectError,
    ItemResult,
    JournalError,
    NewItem,
    RequestError,
    Retries,
    ServerError,
    picture,
)

AT_ONCE = Retries(first_wait_s=0.0)
Answer = Callable[[list[Any]], httpx.Response | None]


class Server:
    """Embeds by the length of what it gets, and counts; `answer` may say something else for a call."""

    def __init__(self, model: str = "m@1") -> None:
        self.model = model
        self.calls: list[list[Any]] = []
        self.answer: Answer = lambda inputs: None
        self.most_at_once = 0
        self.limits: dict[str, int] = {}
        self.asked_limits = 0
        self._inside = 0
        self._lock = threading.Lock()

    @property
    def embedded(self) -> int:
        return sum(map(len, self.calls))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            self._inside += 1
            self.most_at_once = max(self.most_at_once, self._inside)
        try:
            return self._respond(request)
        finally:
            with self._lock:
                self._inside -= 1

    def _respond(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            self.asked_limits += 1
            told = httpx.Response(200, json={"data": [], "request_limits": self.limits})
            return told if self.limits else refusal(404, "not_found")
        if request.url.path == "/v1/vqa":
            self.calls.append([request.content])
            body = {"model": self.model, "answers": [{"answer": "red", "score": 0.5}]}
            return self.answer(self.calls[-1]) or httpx.Response(200, json=body)
        inputs = [one if isinstance(one, str) else one["image"] for one in json.loads(request.content)["input"]]
        told = self.answer(inputs)
        if told is not None:
            return told
        self.calls.append(inputs)
        data = [
            {"index": place, "embedding": base64.b64encode(array("f", [len(one)]).tobytes()).decode()}
            for place, one in enumerate(inputs)
        ]
        return httpx.Response(200, json={"model": self.model, "data": data[::-1]})

    def client(self, retries: Retries | None = AT_ONCE) -> Client:
        return Client("http://server", transport=httpx.MockTransport(self), retries=retries)

    def other(self) -> AsyncClient:
        return AsyncClient("http://server", transport=httpx.MockTransport(self), retries=AT_ONCE)


def texts(count: int) -> list[str]:
    return ["x" * (number + 1) for number in range(count)]


def numbers(results: list[ItemResult[array[float]]]) -> list[float]:
    return [result.unwrap()[0] for result in results]


def refusal(status: int, kind: str) -> httpx.Response:
    return httpx.Response(status, json={"kind": kind, "detail": "no"})


def test_every_item_has_its_result_in_order() -> None:
    server = Server()
    results = list(server.client().embed_many(texts(100), batch=8, parallel=3))
    assert numbers(results) == [float(number + 1) for number in range(100)]
    assert [result.index for result in results] == list(range(100))
    assert [result.item for result in results] == texts(100)
    assert max(map(len, server.calls)) == 8
    assert server.most_at_once <= 3


async def test_the_other_twin_does_the_same_and_takes_what_must_be_waited_for() -> None:
    async def slowly() -> AsyncIterator[str]:
        for text in texts(50):
            await asyncio.sleep(0)
            yield text

    async with Server().other() as client:
        for items in (texts(50), slowly()):
            results = [result async for result in client.embed_many(items, batch=7)]
            assert numbers(results) == [float(number + 1) for number in range(50)]


def test_results_as_they_are_done_lack_none() -> None:
    results = list(Server().client().embed_many(texts(100), batch=3, ordered=False))
    assert sorted(numbers(results)) == [float(number + 1) for number in range(100)]
    assert {result.index: result.unwrap()[0] for result in results} == {n: float(n + 1) for n in range(100)}


def test_texts_and_pictures_are_told_apart_by_type(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"photo")
    server = Server()
    items = ["a.jpg", path, b"bytes", picture(b"made"), 3, tmp_path / "none.jpg"]
    results = list(server.client().embed_many(items))  # type: ignore[arg-type]
    assert server.calls == [["a.jpg", *(base64.b64encode(one).decode() for one in (b"photo", b"bytes", b"made"))]]
    assert [result.ok for result in results] == [True] * 4 + [False] * 2
    assert isinstance(results[4].error, TypeError)
    with pytest.raises(FileNotFoundError):
        results[5].unwrap()


def test_one_bad_item_costs_no_other() -> None:
    server = Server()
    server.answer = lambda inputs: refusal(422, "invalid_image") if "bad" in inputs else None
    results = list(server.client().embed_many([*texts(20), "bad", *texts(20)], batch=16))
    assert [result.index for result in results if not result.ok] == [20]
    assert isinstance(results[20].error, RequestError)
    assert server.embedded == 40


def test_a_refusal_of_the_call_itself_is_every_items_and_is_not_tried_in_parts() -> None:
    server = Server()
    asked: list[int] = []

    def refuse(inputs: list[Any]) -> httpx.Response:
        asked.append(len(inputs))
        return refusal(404, "model_not_found")

    server.answer = refuse
    results = list(server.client().embed_many(texts(20), batch=10))
    assert asked == [10, 10]
    assert all(isinstance(result.error, ServerError) and result.error.kind == "model_not_found" for result in results)


def test_what_is_too_large_together_goes_in_halves() -> None:
    server = Server()
    server.answer = lambda inputs: refusal(413, "too_large") if len(inputs) > 3 else None
    assert numbers(list(server.client().embed_many(texts(20), batch=16))) == [float(n + 1) for n in range(20)]
    assert max(map(len, server.calls)) <= 3


def test_calls_are_bounded_in_bytes() -> None:
    server = Server()
    assert len(list(server.client().embed_many([b"x" * 10] * 9, batch=32, batch_bytes=25))) == 9
    assert [len(call) for call in server.calls] == [2, 2, 2, 2, 1]


def test_no_call_is_larger_than_the_server_says_that_it_takes() -> None:
    server = Server()
    server.limits = {"inputs": 5, "body_bytes": 1000}
    assert len(list(server.client().embed_many(texts(12), batch=100))) == 12
    assert [len(call) for call in sorted(server.calls, key=len)] == [2, 5, 5]
    assert server.asked_limits == 1
    server.calls.clear()
    assert len(list(server.client().embed_many([b"x" * 300] * 5))) == 5
    assert [len(call) for call in server.calls] == [2, 2, 1]
    server.calls.clear()
    assert len(list(server.client().embed_many(texts(6), batch=2))) == 6
    assert {len(call) for call in server.calls} == {2}


@pytest.mark.parametrize("limits", [{"inputs": "many"}, {"inputs": 0}, {"unknown": 3}, {"body_bytes": -5}])
def test_limits_that_make_no_sense_end_no_run(limits: dict[str, Any]) -> None:
    server = Server()
    server.limits = limits
    assert numbers(list(server.client().embed_many(texts(9)))) == [float(number + 1) for number in range(9)]


def test_limits_are_asked_for_where_something_is_to_be_sent_alone(tmp_path: Path) -> None:
    server = Server()
    assert list(server.client().embed_many([])) == []
    assert len(list(server.client().vqa_many([(b"photo", "what?")]))) == 1
    assert server.asked_limits == 0
    for _ in range(2):
        list(server.client().embed_many(texts(3), journal=tmp_path / "j"))
    assert server.asked_limits == 1


def test_a_full_server_is_waited_for_and_a_dead_one_is_an_error_of_each_item() -> None:
    server, told = Server(), [refusal(429, "overloaded")] * 20
    server.answer = lambda inputs: told.pop() if told else None
    assert all(result.ok for result in server.client().embed_many(texts(9), batch=3))

    def gone(inputs: list[Any]) -> None:
        raise httpx.ConnectError("gone")

    server.answer = gone
    results = list(server.client().embed_many(texts(9), batch=3))
    assert [type(result.error) for result in results] == [ConnectError] * 9


def test_nothing_is_read_far_ahead_of_a_caller_who_takes_his_time() -> None:
    read = 0

    def items() -> Iterator[str]:
        nonlocal read
        for text in texts(1000):
            read += 1
            yield text

    run = Server().client().embed_many(items(), batch=2, parallel=2)
    next(run)
    assert read <= 2 * 2 + 2 + 1
    run.close()


def test_results_that_wait_for_the_first_one_are_bounded() -> None:
    read, ahead, never = 0, 0, threading.Event()

    def answer(inputs: list[Any]) -> None:
        nonlocal ahead
        if inputs == ["x"]:
            never.wait(0.3)  # time enough to read all, were there no bound
            ahead = read

    def items() -> Iterator[str]:
        nonlocal read
        for text in texts(2000):
            read += 1
            yield text

    server = Server()
    server.answer = answer
    results = list(server.client().embed_many(items(), batch=1, parallel=2))
    assert [result.index for result in results] == list(range(2000))
    assert ahead <= 4 * 2 + 2 + 2


def test_leaving_early_ends_the_run_and_wakes_who_waits() -> None:
    server = Server()
    server.answer = lambda inputs: None if "x" in inputs else refusal(503, "unavailable")
    run = server.client(Retries(first_wait_s=60.0, longest_wait_s=60.0)).embed_many(texts(100), batch=1, parallel=3)
    assert next(run).ok
    run.close()
    assert server.embedded == 1


async def test_leaving_early_in_the_other_twin() -> None:
    server = Server()
    async with server.other() as client, aclosing(client.embed_many(texts(100), batch=1)) as run:
        async for result in run:
            assert result.ok
            break
    assert server.embedded < 20


def test_a_run_that_is_started_again_does_nothing_twice(tmp_path: Path) -> None:
    server, journal = Server(), tmp_path / "run.journal"
    with server.client() as client:
        run = client.embed_many(texts(40), batch=4, parallel=1, journal=journal)
        for _ in range(20):
            next(run)
        run.close()
        before = server.embedded
        assert 20 <= before < 40
        results = list(client.embed_many(texts(40), batch=4, journal=journal))
        assert numbers(results) == [float(number + 1) for number in range(40)]
        assert server.embedded == 40
        assert sum(result.known for result in results) == before
        assert all(result.known for result in client.embed_many(texts(40)[::-1], journal=journal))
        assert server.embedded == 40


async def test_both_twins_go_on_with_the_same_journal(tmp_path: Path) -> None:
    server, journal = Server(), tmp_path / "run.journal"
    assert len(list(server.client().embed_many(texts(9), journal=journal))) == 9
    async with server.other() as client:
        assert all([result.known async for result in client.embed_many(texts(9), journal=journal)])


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    server, journal = Server(), tmp_path / "j"
    server.answer = lambda inputs: refusal(500, "inference_failed") if "xx" in inputs else None
    first = list(server.client().embed_many(texts(5), journal=journal))
    assert [result.ok for result in first] == [True, False, True, True, True]
    server.answer = lambda inputs: None
    server.calls.clear()
    assert all(result.ok for result in server.client().embed_many(texts(5), journal=journal))
    assert server.calls == [["xx"]]


def test_another_model_does_not_go_on_with_a_journal(tmp_path: Path) -> None:
    server = Server()
    assert len(list(server.client().embed_many(texts(3), journal=tmp_path / "j"))) == 3
    server.model = "m@2"
    with pytest.raises(JournalError, match="written by m@1, now m@2"):
        list(server.client().embed_many(texts(5), journal=tmp_path / "j"))
    with pytest.raises(JournalError, match="of other work"):
        list(server.client().embed_many(texts(3), dimensions=2, journal=tmp_path / "j"))


def test_questions(tmp_path: Path) -> None:
    server = Server()
    pairs: list[Any] = [(b"one", "a?"), (b"two", "b?"), b"no pair", (tmp_path / "none.jpg", "c?")]
    results = list(server.client().vqa_many(pairs, top_k=1, journal=tmp_path / "j"))
    assert [result.ok for result in results] == [True, True, False, False]
    assert results[0].unwrap().best == "red"
    assert len(server.calls) == 2
    again = list(server.client().vqa_many(pairs, top_k=1, journal=tmp_path / "j"))
    assert again[1].unwrap().answers == results[1].unwrap().answers
    assert [result.known for result in again[:2]] == [True, True]
    assert len(server.calls) == 2


def test_steps_are_told(tmp_path: Path) -> None:
    steps: list[int] = []
    assert len(list(Server().client().embed_many(texts(9), progress=steps.append))) == 9
    assert sum(steps) == 9


@pytest.mark.parametrize("wrong", [{"parallel": 0}, {"batch": 0}])
def test_options_that_cannot_be_are_told_at_once(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        Server().client().embed_many([], **wrong)  # type: ignore[arg-type]


class Store:
    """A collection of a few lines."""

    def __init__(self) -> None:
        self.items: dict[str, str | None] = {}
        self.sent: list[str] = []
        self.full = 0
        self.most_items = 1024
        self.added: list[int] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": [], "request_limits": {"items": self.most_items}})
        body = json.loads(request.content)
        if request.url.path.endswith("lookup"):
            return httpx.Response(
                200, json={"known": {one: self.items[one] for one in body["ids"] if one in self.items}}
            )
        results: list[dict[str, Any]] = []
        self.added.append(len(body["items"]))
        for item in body["items"]:
            if self.full:
                self.full -= 1
                error = {"kind": "overloaded", "detail": "full", "retry_after_s": 0}
                results.append({"id": item["id"], "status": "failed", "error": error})
                continue
            self.sent.append(item["id"])
            content = base64.b64decode(item["image"]) if "image" in item else None
            self.items[item["id"]] = None if content is None else hashlib.sha256(content).hexdigest()
            results.append({"id": item["id"], "status": "created"})
        return httpx.Response(200, json={"model": "m@1", "encoder": "e", "results": results})

    def client(self, retries: Retries | None = AT_ONCE) -> Client:
        return Client("http://server", transport=httpx.MockTransport(self), retries=retries)


def test_items_without_an_id_get_one_of_their_content() -> None:
    store = Store()
    items = [NewItem(image=b"a"), NewItem(image=b"b"), NewItem(vector=[1.0]), NewItem(id="mine", image=b"a"), NewItem()]
    first = list(store.client().index_many("pets", items))
    assert [result.ok for result in first] == [True] * 4 + [False]
    again = list(store.client().collection("pets").index_many(items))
    # A vector tells the server nothing that a lookup could compare; under its own id it is replaced by itself.
    assert [result.unwrap().status for result in again[:4]] == ["present", "present", "created", "present"]
    assert [result.unwrap().id for result in first[:4]] == [result.unwrap().id for result in again[:4]]
    assert len(store.items) == 4


def test_no_more_items_are_added_in_a_call_than_the_server_takes() -> None:
    store = Store()
    store.most_items = 4
    items = [NewItem(id=str(number), image=b"%d" % number) for number in range(10)]
    assert all(result.ok for result in store.client().index_many("pets", items))
    assert sorted(store.added) == [2, 4, 4]


def test_an_index_run_with_a_journal_asks_the_server_nothing_that_is_done(tmp_path: Path) -> None:
    store = Store()
    items = [NewItem(id=str(number), image=b"%d" % number) for number in range(9)]
    assert all(result.ok for result in store.client().index_many("pets", items, journal=tmp_path / "j"))
    store.items.clear()
    again = list(store.client().index_many("pets", items, journal=tmp_path / "j"))
    assert {result.unwrap().status for result in again} == {"present"}
    assert store.items == {}


def test_an_item_that_a_full_server_refused_is_sent_again_or_fails_by_itself() -> None:
    store = Store()
    store.full = 3
    items = [NewItem(id=str(number), image=b"%d" % number) for number in range(6)]
    assert all(result.ok for result in store.client().index_many("pets", items))
    assert len(store.sent) == 6
    store.full = 2
    refused = list(store.client(None).index_many("pets", items, again=True))
    assert [type(result.error) for result in refused[:3]] == [CapacityError, CapacityError, type(None)]
