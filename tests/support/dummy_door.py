"""The HTTP door in process over any dummy models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from vlp_server.config import ServerConfig
from vlp_server.core.service import Service
from vlp_server.core.settings import CoreSettings, EngineSettings, ModelSettings
from vlp_server.http.app import create_app


def dummy_service(*names: str) -> Service:
    """A service of the dummy models of these names, not started."""
    models = tuple(ModelSettings(reference=name, engine=EngineSettings(engine="dummy")) for name in names)
    return Service(CoreSettings(models=models, preprocess_threads=1))


@asynccontextmanager
async def open_dummies(*names: str, config: ServerConfig | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a door on such a service."""
    service = dummy_service(*names)
    await service.start()
    assert (await service.wait_ready(30)).ready
    transport = httpx.ASGITransport(create_app(service, config or ServerConfig()))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
            yield client
    finally:
        await service.close()
