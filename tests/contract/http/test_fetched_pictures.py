"""A picture named by URL, from the door to a site and back."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from typing import Any

from leaving_client import LeavingClient
from picture_site import fetcher, ok, site
from vlp_server.config import ServerConfig, UrlFetchConfig
from vlp_server.http.app import create_app
from vlp_server.intake.fetch import UrlFetcher
from vlp_server.intake.resolve import HostResolver

CONFIG = ServerConfig(url_fetch=UrlFetchConfig(enabled=True))


def call(port: int, path: str = "a.jpg") -> dict[str, Any]:
    return {"image": f"http://pictures.example:{port}/{path}", "question": "what?"}


async def test_the_model_gets_what_is_behind_the_url(door_with: Any, scripted: Any) -> None:
    async with (
        site(lambda host, path: ok(b"picture")) as (port, seen),
        door_with(CONFIG, fetcher=fetcher(port)) as client,
    ):
        response = await client.post("/v1/vqa", json=call(port))
    assert response.status_code == 200
    assert scripted.calls[0]["image"] == b"picture"
    assert seen == [f"pictures.example:{port}/a.jpg"]


async def test_faults_of_the_url_reach_the_caller(door_with: Any, scripted: Any) -> None:
    async with site(lambda host, path: ok(b"")) as (port, _), door_with(CONFIG, fetcher=fetcher(port)) as client:
        empty = await client.post("/v1/vqa", json=call(port))
        inside = await client.post("/v1/vqa", json={**call(port), "image": f"http://inside.example:{port}/"})
    assert (empty.status_code, empty.json()["kind"]) == (422, "invalid_image")
    assert (inside.status_code, inside.json()["field"]) == (400, "image")
    assert scripted.calls == []


async def test_the_real_check_of_addresses_stands_behind_the_door(door_with: Any) -> None:
    async with door_with(CONFIG) as client:
        response = await client.post("/v1/vqa", json={"image": "http://127.0.0.1/", "question": "what?"})
    assert response.status_code == 400
    assert "not public" in response.json()["detail"]


async def test_a_site_that_does_not_answer_ends_with_the_callers_deadline(door_with: Any) -> None:
    async with (
        asyncio.timeout(8),
        site(lambda host, path: None) as (port, seen),
        door_with(CONFIG, fetcher=fetcher(port)) as client,
    ):
        response = await client.post("/v1/vqa", json=call(port), headers={"X-Request-Timeout-Ms": "200"})
    assert (response.status_code, response.json()["kind"]) == (504, "deadline_exceeded")
    assert len(seen) == 1


async def test_a_client_that_goes_away_ends_its_fetch(scripted: Any) -> None:
    asked = asyncio.Event()

    def answer(host: str, path: str) -> None:
        asked.set()

    async with site(answer) as (port, _):
        app = create_app(scripted, CONFIG, fetcher=fetcher(port))
        client = LeavingClient(app, asked)
        async with asyncio.timeout(8):
            await client.post("/v1/vqa", json.dumps(call(port)).encode())
    assert client.statuses[0] == 499
    assert scripted.calls == []
    assert app.state.door.room.inside == 0


async def test_names_that_are_slow_to_resolve_do_not_stop_other_callers(door_with: Any, scripted: Any) -> None:
    go_on = threading.Event()

    def lookup(host: str, port: int, **_: Any) -> Any:
        go_on.wait(20)
        raise OSError(host)

    picture = bytes(300_000)
    async with door_with(CONFIG, fetcher=UrlFetcher(CONFIG.url_fetch, HostResolver(lookup))) as client:
        slow = [asyncio.create_task(client.post("/v1/vqa", json=call(80, str(index)))) for index in range(64)]
        await asyncio.sleep(0.2)
        async with asyncio.timeout(8):
            sent = {"image": base64.b64encode(picture).decode(), "question": "what?"}
            assert (await client.post("/v1/vqa", json=sent)).status_code == 200
        assert not any(task.done() for task in slow)
        go_on.set()
        assert {response.status_code for response in await asyncio.gather(*slow)} == {400}
    assert [call["image"] for call in scripted.calls] == [picture]
