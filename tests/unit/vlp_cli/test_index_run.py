from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from vlp_cli.index_run import BatchBounds, Counts, ErrorFile, index_pictures
from vlp_cli.index_sources import FoundPicture
from vlp_client import CapacityError, Client, ConnectError, RequestError, Retries


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Server:
    """Keeps items by id; `answer` may say something else for a call."""

    def __init__(self) -> None:
        self.items: dict[str, str | None] = {}
        self.calls: list[list[dict[str, Any]]] = []
        self.answer: Callable[[int, list[dict[str, Any]]], httpx.Response | None] = lambda call, items: None
        self._lock = threading.Lock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": []})
        body = json.loads(request.content)
        if request.url.path.endswith("lookup"):
            return httpx.Response(200, json={"known": {i: self.items[i] for i in body["ids"] if i in self.items}})
        with self._lock:
            self.calls.append(body["items"])
            told = self.answer(len(self.calls), body["items"])
            if told is not None:
                return told
            known = set(self.items)
            for item in body["items"]:
                self.items[item["id"]] = digest(item["id"].encode())
        states = {item["id"]: "updated" if item["id"] in known else "created" for item in body["items"]}
        return results([{"id": name, "status": status} for name, status in states.items()])


def results(items: list[dict[str, Any]]) -> httpx.Response:
    return httpx.Response(200, json={"model": "m@1", "encoder": "e", "results": items})


def failed(item: dict[str, Any], kind: str, **more: Any) -> dict[str, Any]:
    return {"id": item["id"], "status": "failed", "error": {"kind": kind, "detail": "no", **more}}


@pytest.fixture
def server() -> Server:
    return Server()


def pictures(count: int) -> Iterator[FoundPicture]:
    for number in range(count):
        name = f"p{number}"
        yield FoundPicture(name, name, name.encode())


PATIENT = Retries(first_wait_s=0.0)


def run(
    server: Server,
    found: Iterator[FoundPicture],
    folder: Path,
    again: bool = False,
    retries: Retries | None = PATIENT,
    **bounds: int,
) -> Counts:
    seen: list[int] = []
    with Client("http://server", transport=httpx.MockTransport(server), retries=retries) as client:
        counts = index_pictures(
            client.collection("pets"),
            found,
            bounds=BatchBounds(**{"items": 4, "parallel": 2, **bounds}),
            errors=ErrorFile(folder / "errors.jsonl"),
            again=again,
            watch=seen.append,
        )
    assert sum(seen) == counts.added + counts.replaced + counts.present + counts.failed
    return counts


def test_every_picture_is_sent_once_in_batches(server: Server, tmp_path: Path) -> None:
    assert run(server, pictures(10), tmp_path) == Counts(added=10)
    assert sorted(map(len, server.calls)) == [2, 4, 4]
    assert not (tmp_path / "errors.jsonl").exists()


def test_what_is_there_with_the_same_picture_is_passed_over(server: Server, tmp_path: Path) -> None:
    run(server, pictures(6), tmp_path)
    server.calls.clear()
    server.items["p2"] = digest(b"another picture")
    assert run(server, pictures(8), tmp_path) == Counts(added=2, replaced=1, present=5)
    assert sorted(item["id"] for call in server.calls for item in call) == ["p2", "p6", "p7"]
    assert run(server, pictures(8), tmp_path, again=True) == Counts(replaced=8)


def test_batches_are_bounded_in_bytes_and_nothing_is_read_far_ahead(server: Server, tmp_path: Path) -> None:
    taken = 0

    def large() -> Iterator[FoundPicture]:
        nonlocal taken
        for number in range(40):
            taken += 1
            yield FoundPicture(f"p{number}", f"p{number}", bytes(1000))

    ahead: list[int] = []

    def answer(call: int, items: list[dict[str, Any]]) -> None:
        ahead.append(taken - sum(map(len, server.calls[:-1])))

    server.answer = answer
    assert run(server, large(), tmp_path, items=100, size_bytes=2500, parallel=2).added == 40
    assert max(map(len, server.calls)) == 2
    assert max(ahead) <= 9  # two calls of two, a batch that waits, one that is being filled


def test_failures_are_written_down_and_hinder_nothing(server: Server, tmp_path: Path) -> None:
    def found() -> Iterator[FoundPicture]:
        yield FoundPicture("a.jpg", "a", fault="cannot be read")
        yield from pictures(3)

    def answer(call: int, items: list[dict[str, Any]]) -> httpx.Response:
        return results(
            [failed(i, "invalid_image") if i["id"] == "p1" else {"id": i["id"], "status": "created"} for i in items]
        )

    server.answer = answer
    assert run(server, found(), tmp_path) == Counts(added=2, failed=2)
    lines = [json.loads(line) for line in (tmp_path / "errors.jsonl").read_text().splitlines()]
    assert {(line["source"], line["kind"]) for line in lines} == {("a.jpg", "unreadable"), ("p1", "invalid_image")}


def test_a_full_server_is_waited_for(server: Server, tmp_path: Path) -> None:
    def answer(call: int, items: list[dict[str, Any]]) -> httpx.Response | None:
        if call == 1:
            return httpx.Response(429, json={"kind": "overloaded", "detail": "full", "retry_after_s": 0})
        if call == 2:
            told = [failed(items[0], "overloaded", retry_after_s=0)]
            return results(told + [{"id": item["id"], "status": "created"} for item in items[1:]])
        return None

    server.answer = answer
    assert run(server, pictures(4), tmp_path, parallel=1) == Counts(added=4)
    assert list(map(len, server.calls)) == [4, 4, 1]


def test_a_server_that_stays_full_ends_the_run(server: Server, tmp_path: Path) -> None:
    server.answer = lambda call, items: httpx.Response(503, json={"kind": "unavailable", "detail": "no"})
    with pytest.raises(CapacityError):
        run(server, pictures(4), tmp_path, retries=None)
    server.answer = lambda call, items: results([failed(item, "overloaded", retry_after_s=0) for item in items])
    assert run(server, pictures(4), tmp_path, retries=None).failed == 4


def test_a_picture_that_is_too_large_for_a_call_fails_alone(server: Server, tmp_path: Path) -> None:
    refusal = httpx.Response(413, json={"kind": "too_large", "detail": "too large"})
    server.answer = lambda call, items: refusal if items[0]["id"] == "p1" else None
    assert run(server, pictures(3), tmp_path, items=1) == Counts(added=2, failed=1)
    server.calls.clear()
    server.answer = lambda call, items: refusal if len(items) > 2 else None
    assert run(server, pictures(9), tmp_path, again=True, items=8, parallel=1) == Counts(added=7, replaced=2)
    assert sorted(map(len, server.calls))[-3:] == [4, 4, 8]


def test_pictures_that_are_too_large_together_are_sent_alone(server: Server, tmp_path: Path) -> None:
    def answer(call: int, items: list[dict[str, Any]]) -> httpx.Response | None:
        if len(items) == 1:
            return None
        told = [{"id": items[0]["id"], "status": "created"}]
        return results(told + [failed(item, "too_large") for item in items[1:]])

    server.answer = answer
    assert run(server, pictures(4), tmp_path) == Counts(added=4)
    assert sorted(map(len, server.calls)) == [1, 1, 1, 4]


def test_another_refusal_of_a_call_ends_the_run(server: Server, tmp_path: Path) -> None:
    server.answer = lambda call, items: httpx.Response(409, json={"kind": "encoder_mismatch", "detail": "no"})
    with pytest.raises(RequestError):
        run(server, pictures(9), tmp_path)


def test_failures_of_an_earlier_run_are_forgotten(server: Server, tmp_path: Path) -> None:
    (tmp_path / "errors.jsonl").write_text("old\n")
    run(server, pictures(2), tmp_path)
    assert not (tmp_path / "errors.jsonl").exists()


def test_a_server_that_is_gone_ends_the_run_and_what_was_added_stays(server: Server, tmp_path: Path) -> None:
    def answer(call: int, items: list[dict[str, Any]]) -> None:
        if call > 2:
            raise httpx.ConnectError("gone")

    server.answer = answer
    with pytest.raises(ConnectError):
        run(server, pictures(40), tmp_path)
    server.answer = lambda call, items: None
    counts = run(server, pictures(40), tmp_path)
    assert (counts.added + counts.present, counts.present) == (40, 8)
