"""A service with dummy models and a local store, for tests of collections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from service_rig import read_metric
from vlp_server.core.service import Service
from vlp_server.core.settings import CollectionSettings, CoreSettings, EngineSettings, ModelSettings
from vlp_server.index.opening import open_store
from vlp_server.index.settings import StoreSettings

ENCODER, MATCHER = "dummy-encoder", "dummy-matcher"
MODELS = (ENCODER, MATCHER)


@asynccontextmanager
async def collection_service(
    folder: Path, models: tuple[str, ...] = MODELS, store: StoreSettings | None = None, **core: Any
) -> AsyncIterator[Service]:
    """A started service whose collections lie in a folder."""
    service = make_service(folder, models, store, **core)
    await service.start()
    assert (await service.wait_ready(30)).ready
    try:
        yield service
    finally:
        await service.close()


def make_service(
    folder: Path, models: tuple[str, ...] = MODELS, store: StoreSettings | None = None, **core: Any
) -> Service:
    """The same, not started; a folder called *.db is Milvus's file."""
    settings = CoreSettings(
        models=tuple(ModelSettings(reference=name, engine=EngineSettings(engine="dummy")) for name in models),
        preprocess_threads=1,
        collections=CollectionSettings(max_rerank=50),
        **core,
    )
    return Service(settings, store=open_store(folder, store))


def embedded(service: Service) -> float:
    """Pictures that were embedded so far."""
    return read_metric(service.metrics, "vlpserve_embedded_items_total", role="image")
