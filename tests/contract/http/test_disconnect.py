from __future__ import annotations

import asyncio
from typing import Any

from leaving_client import LeavingClient, post_scope
from vlp_server.config import ServerConfig
from vlp_server.core.service import Service
from vlp_server.core.settings import CoreSettings
from vlp_server.http.app import create_app

PICTURE: Any = {"content_type": "image/png", "query": b"question=%5Bstall%5D"}


async def test_a_client_that_goes_away_cancels_its_work(scripted: Any) -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    scripted.behave = wait
    app = create_app(scripted, ServerConfig())
    client = LeavingClient(app, entered)
    async with asyncio.timeout(10):
        await client.post("/v1/vqa", b"picture", **PICTURE)
    assert cancelled.is_set()
    assert client.statuses[0] == 499
    assert app.state.door.room.inside == 0


async def test_going_away_while_sending_ends_the_request(scripted: Any) -> None:
    app = create_app(scripted, ServerConfig())
    messages = [{"type": "http.disconnect"}, {"type": "http.request", "body": b"pic", "more_body": True}]

    async def receive() -> Any:
        return messages.pop()

    async def send(message: Any) -> None:
        pass

    await app(post_scope("/v1/vqa", **PICTURE), receive, send)
    assert scripted.calls == []


async def test_a_cancelled_request_leaves_the_real_core(dummy_settings: CoreSettings) -> None:
    from pictures_made import png

    service = Service(dummy_settings)
    await service.start()
    await service.wait_ready(30)
    app = create_app(service, ServerConfig())
    gone = asyncio.Event()
    request = asyncio.create_task(LeavingClient(app, gone).post("/v1/vqa", png(), **PICTURE))
    async with asyncio.timeout(10):
        while service.metrics.get_sample_value("vlpserve_requests_inside") != 1:
            await asyncio.sleep(0.005)
        gone.set()
        await request
    assert service.metrics.get_sample_value("vlpserve_requests_inside") == 0
    await service.close()


async def test_a_request_cut_off_by_the_end_of_the_drain_is_told_so(scripted: Any) -> None:
    entered = asyncio.Event()

    async def wait() -> None:
        entered.set()
        await asyncio.Event().wait()

    scripted.behave = wait
    app = create_app(scripted, ServerConfig())
    client = LeavingClient(app, gone=asyncio.Event())
    request = asyncio.create_task(client.post("/v1/vqa", b"picture", **PICTURE))
    await entered.wait()
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    assert client.statuses[0] == 503
