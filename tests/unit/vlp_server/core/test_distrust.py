"""A model whose canary fails while it serves: nothing that it computed or would compute reaches a caller."""

import asyncio
import threading

import numpy as np
import pytest
from service_rig import DUMMY, Rig, picture, settle, until
from vlp_server.core.settings import CacheSettings, EngineSettings, ModelSettings
from vlp_spec.errors import UnavailableError
from vlp_spec.tasks import ClassifyQuery, VqaQuery

ENCODER = ModelSettings(reference="dummy-encoder", engine=EngineSettings(engine="dummy"))
OTHER = ModelSettings(reference="other", engine=EngineSettings(engine="dummy"))


def rot(model, output="logits"):
    """Let the canary fail as it does when weights change in memory; returns what undoes it."""
    outputs = model.loaded.canary.outputs[output]
    sound = outputs.copy()
    outputs[0, 0] += np.float32(1.0)
    return lambda: outputs.__setitem__(slice(None), sound)


class Held:
    """Holds the engine's batches back, each of them until it is let go."""

    def __init__(self, engine):
        self.run, self.go, self.entered = engine.run, threading.Event(), threading.Semaphore(0)
        engine.run = self

    def __call__(self, key, feeds):
        outputs = self.run(key, feeds)
        self.entered.release()
        self.go.wait(10)
        return outputs

    async def wait_entered(self):
        assert await asyncio.to_thread(self.entered.acquire, timeout=5)


async def test_kept_answers_of_the_model_go_and_those_of_others_stay():
    async with Rig(DUMMY, OTHER) as rig:
        model = next(iter(rig.service._directory))
        for name in ("dummy", "other"):
            await rig.service.vqa(picture(), [VqaQuery("a")], model=name)
        repair = rot(model)
        await model.check_canary()
        with pytest.raises(UnavailableError, match="off by 1"):
            await rig.service.vqa(picture(), [VqaQuery("a")])
        assert (await rig.service.vqa(picture(), [VqaQuery("a")], model="other")).timings.cached == 1
        repair()
        await model.check_canary()
        assert (await rig.service.vqa(picture(), [VqaQuery("a")])).timings.cached == 0
        assert (await rig.service.vqa(picture(), [VqaQuery("a")])).timings.cached == 1


async def test_what_waits_and_what_is_being_computed_fails_and_is_not_kept():
    async with Rig(DUMMY) as rig:
        model = next(iter(rig.service._directory))
        held = Held(rig.engines[0])
        repair = rot(model)
        check = asyncio.create_task(model.check_canary())
        await held.wait_entered()
        calls = [asyncio.create_task(rig.service.vqa(picture(), [VqaQuery("a")]))]
        # The first one is taken by the worker, whose thread is still at the canary; the second one waits in the queue.
        await until(lambda: rig.value("vlpserve_batch_items_count", model="dummy@1") == 1)
        calls.append(asyncio.create_task(rig.service.vqa(picture(), [VqaQuery("b")])))
        await until(lambda: rig.value("vlpserve_queue_items", model="dummy@1") == 1)
        held.go.set()
        await check
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, UnavailableError)
            assert "off by 1" in outcome.message
            assert outcome.retry_after_s == 30.0
        assert rig.value("vlpserve_dropped_items_total", model="dummy@1", reason="distrusted") == 1
        repair()
        await model.check_canary()
        for question in "ab":
            assert (await rig.service.vqa(picture(), [VqaQuery(question)])).timings.cached == 0


async def test_a_request_that_was_still_decoding_is_not_served_either(monkeypatch):
    async with Rig(DUMMY, cache=CacheSettings(image_entries=0)) as rig:
        model = next(iter(rig.service._directory))
        decoding, go = threading.Event(), threading.Event()
        pipeline = type(model.loaded.pipeline)
        prepare_image = pipeline.prepare_image

        def slowly(self, data):
            decoding.set()
            go.wait(10)
            return prepare_image(self, data)

        monkeypatch.setattr(pipeline, "prepare_image", slowly)
        call = asyncio.create_task(rig.service.vqa(picture(), [VqaQuery("a")]))
        assert await asyncio.to_thread(decoding.wait, 5)
        rot(model)
        await model.check_canary()
        go.set()
        with pytest.raises(UnavailableError, match="off by 1"):
            await call


async def test_an_answer_that_came_in_the_moment_of_the_verdict_is_not_served_or_kept():
    async with Rig(DUMMY) as rig:
        model = next(iter(rig.service._directory))
        batcher = model._batchers["fusion"]
        finished = batcher._observer.batch_finished

        def distrust_after(items, failed):
            finished(items, failed)
            batcher.distrust(UnavailableError("off by 1"))

        batcher._observer.batch_finished = distrust_after
        with pytest.raises(UnavailableError, match="off by 1"):
            await rig.service.vqa(picture(), [VqaQuery("a")])
        batcher._observer.batch_finished = finished
        batcher.trust()
        await settle()
        assert (await rig.service.vqa(picture(), [VqaQuery("a")])).timings.cached == 0


async def test_kept_vectors_of_an_encoder_go_and_the_queues_of_both_towers_fail():
    async with Rig(ENCODER) as rig:
        model = next(iter(rig.service._directory))
        await rig.service.embed(["a", picture()])
        await rig.service.classify(picture(), ClassifyQuery(("cat", "dog")))
        repair = rot(model, "image_embeds")
        held = Held(rig.engines[0])
        check = asyncio.create_task(model.check_canary())
        await held.wait_entered()
        call = asyncio.create_task(rig.service.embed(["b"]))  # of the tower whose canary is right
        await until(lambda: rig.value("vlpserve_batch_items_count", model="dummy-encoder@1", role="text") == 3)
        held.go.set()
        await check
        with pytest.raises(UnavailableError, match="off by"):
            await call
        for items in (["a"], [picture()]):
            with pytest.raises(UnavailableError, match="off by"):
                await rig.service.embed(items)
        repair()
        await model.check_canary()
        assert (await rig.service.embed(["a"])).timings.cached == 0
        assert (await rig.service.embed([picture()])).timings.cached == 0
        assert (await rig.service.embed(["a"])).timings.cached == 1
