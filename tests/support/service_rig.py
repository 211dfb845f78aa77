"""A service over the dummy or a tiny real model, with a hold on its engines."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

from PIL import Image
from prometheus_client import CollectorRegistry
from vlp_server.core.service import Service
from vlp_server.core.settings import CoreSettings, EngineSettings, ModelSettings
from vlp_server.engines.base import Engine
from vlp_server.engines.registry import build_engine

DUMMY = ModelSettings(reference="dummy", engine=EngineSettings(engine="dummy"))


class Rig:
    """Builds a service and remembers the engines that it made."""

    def __init__(self, *models: ModelSettings, clock: object = None, **core: object) -> None:
        self.engines: list[Engine] = []
        options = {} if clock is None else {"clock": clock}
        settings = CoreSettings(models=models or (DUMMY,), **{"preprocess_threads": 1, **core})
        self.service = Service(settings, make_engine=self._make, **options)

    def _make(self, settings: EngineSettings) -> Engine:
        self.engines.append(build_engine(settings))
        return self.engines[-1]

    async def __aenter__(self) -> Rig:
        await self.service.start()
        await self.service.wait_ready(10.0)
        return self

    async def __aexit__(self, *_: object) -> None:
        for engine in self.engines:
            if hasattr(engine, "release"):
                engine.release()
        await self.service.close()

    def value(self, metric: str, **labels: str) -> float:
        """A metric's value, 0 when it was never touched."""
        return read_metric(self.service.metrics, metric, **labels)


def read_metric(registry: CollectorRegistry, metric: str, **labels: str) -> float:
    """The sum of all samples that have these labels, whatever others they have."""
    samples = [sample for family in registry.collect() for sample in family.samples if sample.name == metric]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def tiny_model(root: Path, reference: str = "tiny") -> ModelSettings:
    return ModelSettings(reference=reference, repository=root, engine=EngineSettings(threads=1))


def picture(colour: str = "red", size: tuple[int, int] = (8, 6)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return data.getvalue()


async def settle(rounds: int = 20) -> None:
    """Let tasks that can run do so."""
    for _ in range(rounds):
        await asyncio.sleep(0)


async def until(condition: object, timeout_s: float = 5.0) -> None:
    """Wait for what another thread brings about."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.001)
