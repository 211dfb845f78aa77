"""Every request of the load test is one that the door takes and answers as is expected."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from asgi_bridge import AsgiBridge, LoopThread
from dummy_door import dummy_service
from vlp_loadtest.pictures import Pictures
from vlp_loadtest.task_requests import TASKS, Material, Request, fault_of
from vlp_server.config import ServerConfig
from vlp_server.http.app import create_app

NAMES = ("", "-captioner", "-matcher", "-entailment", "-encoder", "-grounding", "-reasoning", "-extractor")


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    loop = LoopThread()
    service = dummy_service(*(f"dummy{name}" for name in NAMES))
    loop.run(service.start())
    assert loop.run(service.wait_ready(30)).ready
    with httpx.Client(
        base_url="http://server", transport=AsgiBridge(create_app(service, ServerConfig()), loop)
    ) as made:
        yield made
    loop.run(service.close())
    loop.close()


def ask(http: httpx.Client, request: Request) -> httpx.Response:
    return http.post(request.target, content=request.body, headers={"Content-Type": request.content_type})


@pytest.mark.parametrize("task", sorted(set(TASKS) - {"search", "index"}))
def test_a_request_of_each_task_is_answered(task: str, http: httpx.Client) -> None:
    material = Material(random.Random(0), Pictures(random.Random(0), side=64))
    request = TASKS[task].make(material)
    reply = ask(http, request)
    assert (reply.status_code, fault_of(request, reply.status_code, reply.content)) == (200, None), reply.text
    assert request.task == task
    assert TASKS[task].make(material).body != request.body


@pytest.mark.parametrize("task", ["vqa", "classify", "embeddings"])
def test_a_refusal_is_known_by_its_kind(task: str, http: httpx.Client) -> None:
    request = TASKS[task].make(Material(random.Random(0), Pictures(random.Random(0), side=64), model="nobody"))
    reply = ask(http, request)
    assert fault_of(request, reply.status_code, reply.content) == "model_not_found"


@pytest.mark.parametrize(
    ("expected", "status", "body", "fault"),
    [
        ("answers", 200, b"{}", "unexpected_answer"),
        ("answers", 200, b"[]", "unexpected_answer"),
        ("answers", 200, b"<html>", "unexpected_answer"),
        ("answers", 200, b'{"answers": []}', None),
        ("", 200, b'event: text\ndata: {"text": "a"}\n\n', "unexpected_answer"),
        ("", 200, b"event: done\ndata: {}\n\n", None),
        ("answers", 502, b"<html>", "status_502"),
        ("answers", 502, b"[]", "status_502"),
    ],
)
def test_what_is_wrong_with_an_answer(expected: str, status: int, body: bytes, fault: str | None) -> None:
    assert fault_of(Request("vqa", "/", b"", "", expected), status, body) == fault


def test_a_collection_is_searched_and_filled(tmp_path: Path) -> None:
    material = Material(random.Random(0), Pictures(random.Random(0), side=64), collection="a b")
    search, first, second = (TASKS[task].make(material) for task in ("search", "index", "index"))
    assert search.target == "/v1/collections/a%20b/search"
    assert first.target == "/v1/collections/a%20b/items"
    assert first.body != second.body
