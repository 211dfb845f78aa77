"""What tests of model management share: asking a version, and what a name means."""

import asyncio
import threading

from service_rig import picture
from tiny_repository import publish
from vlp_server.core.settings import CacheSettings, EngineSettings, ModelSettings
from vlp_spec.tasks import VqaQuery

NO_CACHE = CacheSettings(answer_entries=0, image_entries=0)
QUESTION = VqaQuery("what colour is it")


def dummy(reference):
    return ModelSettings(reference=reference, engine=EngineSettings(engine="dummy"))


def publish_two(root):
    """Two versions of "tiny" that answer otherwise."""
    publish(root, version=1)
    publish(root, version=2, scale=-1.0)
    return root


async def ask(rig, model="tiny", query=QUESTION):
    return await rig.service.vqa(picture(), [query], model=model)


async def states(rig, name="tiny"):
    return {row.version: row.state for row in await rig.service.management.versions(name)}


def meaning(rig, name="tiny"):
    return rig.service._directory.find(name).label


def rounded(reply):
    """Its answers; their last digits depend on who shared the batch."""
    return tuple((answer.answer, round(answer.score, 4)) for answer in reply.results[0].answers)


def has_gauge(rig, model, metric="vlpserve_model_ready"):
    samples = [sample for family in rig.service.metrics.collect() for sample in family.samples]
    return any(sample.name == metric and sample.labels.get("model") == model for sample in samples)


class Held:
    """Lets the runs of an engine wait until they are let go."""

    def __init__(self, engine):
        self.go, self.entered, self._run = threading.Event(), threading.Event(), engine.run
        engine.run = self._wait_and_run

    def _wait_and_run(self, key, feeds):
        self.entered.set()
        assert self.go.wait(10)
        return self._run(key, feeds)

    async def begin(self, call):
        """Start a request; returns when it is in the engine."""
        task = asyncio.create_task(call)
        assert await asyncio.to_thread(self.entered.wait, 5)
        return task
