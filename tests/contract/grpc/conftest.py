"""The gRPC door over the real service with dummy models and a store, and over one that does what a test tells it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from vlp_server.core.records import QueryReply, Readiness, Timings
from vlp_spec.tasks import ScoredAnswer, VqaResult

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from collection_rig import collection_service
from grpc_rig import ALL_MODELS, Rig, open_grpc


class ScriptedService:
    """Answers questions at once, or as `behave` says; remembers what it was asked."""

    def __init__(self) -> None:
        self.metrics = CollectorRegistry()
        self.calls: list[dict[str, Any]] = []
        self.behave: Callable[[], Any] | None = None
        self.ready = Readiness(True, {"scripted@1": "ready"})
        self.management: Any = None
        self.collections: Any = object()

    async def vqa(self, image: Any, queries: Any, **options: Any) -> QueryReply[VqaResult]:
        self.calls.append({"image": image, "queries": list(queries), **options})
        if self.behave is not None:
            await self.behave()
        result = VqaResult((ScoredAnswer("red", 0.75),))
        return QueryReply("scripted@1", [result for _ in queries], Timings(queue_ms=1.0, infer_ms=2.5, batch_items=3))

    def readiness(self) -> Readiness:
        return self.ready


@pytest.fixture
def scripted() -> ScriptedService:
    return ScriptedService()


@pytest.fixture
async def scripted_rig(scripted: ScriptedService) -> AsyncIterator[Rig]:
    async with open_grpc(scripted) as rig:
        yield rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """All dummy models."""
    async with collection_service(tmp_path, ALL_MODELS) as service, open_grpc(service) as rig:
        yield rig
