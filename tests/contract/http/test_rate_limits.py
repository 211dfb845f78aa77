"""How much a caller may ask, as HTTP tells it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from chat_bodies import user
from dummy_door import open_dummies
from service_rig import picture
from vlp_server.access.keys import Role, new_key
from vlp_server.access.quota import OwnQuota
from vlp_server.config import AccessConfig, ServerConfig
from vlp_spec.errors import ConfigError

PICTURE = ("image", ("a", b"picture"))
CALL: dict[str, Any] = {"files": [PICTURE], "data": {"question": "what?"}}
# A request, a look at a picture, and a question of five characters.
COST = 10 + 144 + 2
SLOW = 0.001


def limited(**access: Any) -> ServerConfig:
    return ServerConfig(access=AccessConfig(**access))


def standing(response: httpx.Response) -> list[str | None]:
    return [response.headers.get(f"ratelimit-{name}") for name in ("limit", "remaining", "reset")]


async def test_without_bounds_nothing_is_said_of_them(door: httpx.AsyncClient) -> None:
    assert standing(await door.post("/v1/vqa", **CALL)) == [None, None, None]


async def test_a_caller_is_told_how_it_stands_and_refused_when_it_asks_too_much(door_with: Any, scripted: Any) -> None:
    async with door_with(limited(rate=SLOW, burst=2 * COST)) as door:
        first, second, third = [await door.post("/v1/vqa", **CALL) for _ in range(3)]
        listed = await door.get("/v1/models")
        text = (await door.get("/metrics")).text
    assert [first.status_code, second.status_code, third.status_code] == [200, 200, 429]
    assert standing(first) == [str(2 * COST), str(COST), str(int(COST / SLOW))]
    assert standing(second)[1] == standing(third)[1] == "0"
    problem = third.json()
    assert (problem["kind"], problem["status"]) == ("rate_limited", 429)
    assert third.headers["content-type"] == "application/problem+json"
    # Until there is enough for the request itself; what it asks is known only when its body is read.
    assert 9000 < int(third.headers["retry-after"]) <= 10 / SLOW
    assert problem["retry_after_s"] == pytest.approx(int(third.headers["retry-after"]), abs=1)
    assert listed.status_code == 200
    assert len(scripted.calls) == 2
    assert f'vlpserve_key_cost_total{{key=""}} {2 * COST}.0' in text
    assert 'vlpserve_key_refused_total{key="",limit="rate"} 1.0' in text


async def test_the_body_of_a_caller_with_nothing_left_is_not_read(door_with: Any) -> None:
    read = 0

    async def body() -> Any:
        nonlocal read
        read += 1
        yield b"x"

    async with door_with(limited(rate=SLOW, burst=12)) as door:
        headers = {"Content-Type": "image/png"}
        assert (await door.post("/v1/vqa?question=a", content=b"x", headers=headers)).status_code == 429
        refused = await door.post("/v1/vqa?question=a", content=body(), headers=headers)
    assert (refused.status_code, read) == (429, 0)


async def test_a_dear_request_is_refused_before_its_work_and_a_cheap_one_is_not(door_with: Any, scripted: Any) -> None:
    questions = {"question": ["what?"] * 10}
    async with door_with(limited(rate=SLOW, burst=1000)) as door:
        await door.post("/v1/vqa", **CALL)
        dear = await door.post("/v1/vqa", files=[PICTURE], data=questions)
        cheap = await door.post("/v1/vqa", **CALL)
    assert (dear.status_code, cheap.status_code) == (429, 200)
    assert len(scripted.calls) == 2


async def test_cost_under_way_is_bounded_also_while_words_are_streamed(door_with: Any, scripted: Any) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        entered.set()
        await release.wait()

    scripted.steps = ["a red", wait]
    async with door_with(limited(concurrency=200)) as door:
        stream = asyncio.create_task(door.post("/v1/caption", files=[PICTURE], data={"stream": "true"}))
        await entered.wait()
        refused = await door.post("/v1/vqa", **CALL)
        release.set()
        assert (await stream).status_code == 200
        after = await door.post("/v1/vqa", **CALL)
    assert (refused.status_code, refused.json()["kind"], refused.headers["retry-after"]) == (429, "rate_limited", "1")
    assert after.status_code == 200


async def test_keys_have_their_own_and_share_nothing() -> None:
    plain, plain_record = new_key("plain", Role.READ)
    bulk, bulk_record = new_key("bulk", Role.READ, OwnQuota(rate=0.0))
    config = limited(keys=(plain_record.line, bulk_record.line), rate=SLOW, burst=30)
    async with open_dummies("dummy", "dummy-encoder", config=config) as door:

        async def ask(key: str) -> httpx.Response:
            return await door.post("/v1/embeddings", json={"input": "a"}, headers={"X-Api-Key": key})

        by_plain = [(await ask(plain)).status_code for _ in range(4)]
        by_bulk = [await ask(bulk) for _ in range(4)]
        refused = await ask(plain)
        text = (await door.get("/metrics", headers={"X-Api-Key": plain})).text
        open_text = (await door.get("/metrics")).text
        wrong_text = (await door.get("/metrics", headers={"X-Api-Key": "vlp_wrong"})).text
    assert by_plain == [200, 200, 429, 429]
    assert [response.status_code for response in by_bulk] == [200] * 4
    assert standing(by_bulk[0]) == [None, None, None]
    assert refused.json()["kind"] == "rate_limited"
    assert 'vlpserve_key_refused_total{key="plain",limit="rate"} 3.0' in text
    assert 'vlpserve_key_cost_total{key="bulk"} 44.0' in text
    for shown in (open_text, wrong_text):
        assert "vlpserve_http_requests" in shown
        assert "bulk" not in shown


async def test_items_and_searches_are_paid_by_what_they_ask() -> None:
    vector = [1.0] * 8
    async with open_dummies("dummy-encoder", config=limited(rate=SLOW, burst=100_000)) as door:
        spent: list[float] = []

        async def pay(method: str, path: str, **call: Any) -> None:
            response = await door.request(method, path, **call)
            assert response.status_code in (200, 404, 400), response.text
            left = standing(response)[1]
            assert left is not None
            spent.append(100_000 - int(left) - sum(spent))

        await pay("POST", "/v1/collections/a/items", json={"items": [{"vector": vector}, {"vector": vector}]})
        await pay("POST", "/v1/collections/a/search", json={"text": "four"})
        await pay("POST", "/v1/collections/a/search", json={"vector": vector})
        await pay("GET", "/v1/collections")
    assert spent == [12, 11, 11, 10]


def test_quotas_are_settings_that_check_themselves() -> None:
    with pytest.raises(ConfigError) as caught:
        AccessConfig(rate=-1.0, concurrency=float("inf"), keys=("x",))
    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["rate", "concurrency", "keys"]


async def test_a_chat_pays_as_a_question_does() -> None:
    chat = {"model": "dummy", "messages": [user(picture(), "what?")]}
    async with open_dummies("dummy", config=limited(rate=SLOW, burst=2 * COST)) as door:
        answers = [await door.post("/v1/chat/completions", json=chat) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [standing(answer)[1] for answer in answers] == [str(COST), "0", "0"]
    assert answers[2].json()["error"]["code"] == "rate_limit_exceeded"
    assert answers[2].json()["kind"] == "rate_limited"
