from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import Any

import httpx
import pytest
from every_error import all_errors, make_error, raising
from vlp_server.config import HttpConfig, ServerConfig
from vlp_server.http.problems import STATUS, DoorKind
from vlp_spec import errors
from vlp_spec.errors import CapacityError, ErrorKind, InternalError, StartupError, VlpError

PICTURE = ("image", ("a", b"picture"))
CALL: dict[str, Any] = {"files": [PICTURE], "data": {"question": "what?"}}
CALLS: dict[str, dict[str, Any]] = {
    "vqa": CALL,
    "match": {"files": [PICTURE], "data": {"text": "a"}},
    "entailment": {"files": [PICTURE], "data": {"hypothesis": "a"}},
    "reasoning": {"files": [PICTURE, PICTURE], "data": {"statement": "a"}},
    "grounding": {"files": [PICTURE], "data": {"phrase": "a"}},
    "regions": {"files": [PICTURE], "data": {}},
}


def test_the_table_has_every_kind() -> None:
    assert set(STATUS) == set(ErrorKind) | set(DoorKind)


@pytest.mark.parametrize("task", CALLS)
@pytest.mark.parametrize("kind", list(all_errors()), ids=lambda kind: kind.__name__)
async def test_every_error_of_the_tree_comes_out_in_one_form(
    kind: type[VlpError], task: str, door: httpx.AsyncClient, scripted: Any
) -> None:
    error = make_error(kind)
    scripted.behave = raising(error)
    response = await door.post(f"/v1/{task}", **CALLS[task])
    body = response.json()
    expected = ErrorKind.INTERNAL if isinstance(error, StartupError) else error.kind
    assert response.status_code == STATUS[expected] == body["status"]
    assert response.headers["content-type"] == "application/problem+json"
    assert body["kind"] == expected
    assert body["type"] == f"urn:vlpserve:problem:{expected}"
    assert body["request_id"] == response.headers["x-request-id"]
    assert "secret" not in response.text
    assert ("retry-after" in response.headers) == (response.status_code in (429, 503))
    assert ("retry_after_s" in body) == isinstance(error, CapacityError)


async def test_retry_after_is_whole_seconds_rounded_up(door: httpx.AsyncClient, scripted: Any) -> None:
    scripted.behave = raising(errors.OverloadedError("full", retry_after_s=2.2))
    response = await door.post("/v1/vqa", **CALL)
    assert (response.headers["retry-after"], response.json()["retry_after_s"]) == ("3", 2.2)


async def test_an_unknown_fault_gives_a_fixed_text_and_the_stack_goes_to_the_log(
    door: httpx.AsyncClient, scripted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.behave = raising(ZeroDivisionError("a secret"))
    with caplog.at_level(logging.ERROR):
        response = await door.post("/v1/vqa", **CALL)
    assert (response.status_code, response.json()["kind"]) == (500, "internal")
    assert response.json()["detail"] == InternalError().message
    assert "secret" not in response.text
    assert "ZeroDivisionError" in caplog.text
    scripted.behave = None
    assert (await door.post("/v1/vqa", **CALL)).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/vqa/", 404, "not_found"),
        ("GET", "/v1/vqa", 405, "method_not_allowed"),
        ("DELETE", "/v1/collections", 405, "method_not_allowed"),
        ("GET", "/v1/entailment", 405, "method_not_allowed"),
        ("PUT", "/v1/reasoning", 405, "method_not_allowed"),
        ("GET", "/v1/grounding", 405, "method_not_allowed"),
        ("DELETE", "/v1/regions", 405, "method_not_allowed"),
    ],
)
async def test_what_the_framework_refuses_has_the_same_form(
    method: str, path: str, status: int, kind: str, door: httpx.AsyncClient
) -> None:
    response = await door.request(method, path)
    assert (response.status_code, response.json()["kind"]) == (status, kind)
    assert response.headers["content-type"] == "application/problem+json"
    assert ("allow" in response.headers) == (status == 405)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/vqa", "POST"),
        ("/v1/collections/a", "DELETE, GET, PUT"),
        ("/v1/collections/a/items/b", "DELETE, GET"),
        ("/v1/collections/a/items/lookup", "DELETE, GET, POST"),
        ("/docs", "GET"),
    ],
)
async def test_all_methods_of_a_path_are_named(path: str, allowed: str, door: httpx.AsyncClient) -> None:
    response = await door.request("PATCH", path)
    assert (response.status_code, response.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "abc", "", "300001", "9" * 30])
async def test_a_deadline_out_of_bounds_is_refused(text: str, door: httpx.AsyncClient) -> None:
    response = await door.post("/v1/vqa", headers={"X-Request-Timeout-Ms": text}, **CALL)
    assert (response.status_code, response.json()["field"]) == (400, "X-Request-Timeout-Ms")


async def test_a_deadline_counts_from_the_arrival_of_the_headers(door: httpx.AsyncClient, scripted: Any) -> None:
    before = time.monotonic()
    await door.post("/v1/vqa", headers={"X-Request-Timeout-Ms": "1500"}, **CALL)
    assert before + 1.5 <= scripted.calls[0]["deadline"] <= time.monotonic() + 1.5


async def test_every_answer_has_an_id_and_timings(door: httpx.AsyncClient, scripted: Any) -> None:
    good = await door.post("/v1/vqa", headers={"X-Request-Id": "trace-1.a:b"}, **CALL)
    assert good.headers["x-request-id"] == "trace-1.a:b"
    assert good.headers["server-timing"].startswith("queue;dur=1.0, preprocess;dur=0.0, infer;dur=2.5")
    assert 'batch;desc="3"' in good.headers["server-timing"]
    bad = await door.get("/nothing", headers={"X-Request-Id": "evil\tid with spaces"})
    assert re.fullmatch("[0-9a-f]{32}", bad.headers["x-request-id"])
    assert bad.headers["server-timing"].startswith("total;dur=")


async def test_more_requests_than_fit_are_refused_before_their_body_is_read(door_with: Any, scripted: Any) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        entered.set()
        await release.wait()

    scripted.behave = wait
    async with door_with(ServerConfig(http=HttpConfig(max_in_flight=1))) as door:
        first = asyncio.create_task(door.post("/v1/vqa", **CALL))
        await entered.wait()
        second = await door.post("/v1/vqa", **CALL)
        assert (second.status_code, second.json()["kind"]) == (429, "overloaded")
        assert (await door.get("/livez")).status_code == 200
        release.set()
        assert (await first).status_code == 200
        assert (await door.post("/v1/vqa", **CALL)).status_code == 200


async def test_a_body_over_the_limit_is_refused_announced_or_not(door_with: Any, scripted: Any) -> None:
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 100
            yield b"x" * 100

    async with door_with(ServerConfig(http=HttpConfig(body_limit_bytes=1000))) as door:
        headers = {"Content-Type": "image/png"}
        announced = await door.post("/v1/vqa?question=a", content=b"x" * 1001, headers=headers)
        dripping = await door.post("/v1/vqa?question=a", content=endless(), headers=headers)
        exact = await door.post("/v1/vqa?question=a", content=b"x" * 1000, headers=headers)
        expecting = await door.post(
            "/v1/vqa?question=a", content=b"x" * 1001, headers={**headers, "Expect": "100-continue"}
        )
    assert [r.status_code for r in (announced, dripping, exact, expecting)] == [413, 413, 200, 413]
    assert read <= 1200
    assert "connection" not in announced.headers
    assert expecting.headers["connection"] == "close"


async def test_a_slow_body_times_out(door_with: Any) -> None:
    async def stuck() -> Any:
        yield b"x"
        await asyncio.Event().wait()

    async with door_with(ServerConfig(http=HttpConfig(body_timeout_s=0.05))) as door:
        slow = await door.post("/v1/vqa?question=a", content=stuck(), headers={"Content-Type": "image/png"})
    assert (slow.status_code, slow.json()["kind"]) == (408, "request_timeout")
    assert slow.headers["connection"] == "close"


async def test_a_deadline_also_holds_while_the_body_arrives(door: httpx.AsyncClient) -> None:
    async def stuck() -> Any:
        yield b"x"
        await asyncio.Event().wait()

    headers = {"Content-Type": "image/png", "X-Request-Timeout-Ms": "50"}
    response = await door.post("/v1/vqa?question=a", content=stuck(), headers=headers)
    assert (response.status_code, response.json()["kind"]) == (504, "deadline_exceeded")


async def test_cors_is_off_unless_an_origin_is_named(door: httpx.AsyncClient, door_with: Any) -> None:
    headers = {"Origin": "https://page.example"}
    assert "access-control-allow-origin" not in (await door.get("/v1/models", headers=headers)).headers
    async with door_with(ServerConfig(http=HttpConfig(cors_origins=("https://page.example",)))) as open_door:
        allowed = await open_door.get("/v1/models", headers=headers)
        other = await open_door.get("/v1/models", headers={"Origin": "https://other.example"})
    assert allowed.headers["access-control-allow-origin"] == "https://page.example"
    assert "access-control-allow-origin" not in other.headers
