import asyncio
import logging

import numpy as np
import pytest
from service_rig import Rig, picture, settle
from vlp_server.core import watchdog as watchdog_module
from vlp_server.core.records import ModelState
from vlp_server.core.settings import WatchdogSettings
from vlp_server.core.watchdog import SUSPECT_GAP_S, Watchdog
from vlp_spec.errors import InferenceError, UnavailableError
from vlp_spec.tasks import VqaQuery


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Model:
    def __init__(self):
        self.state, self.suspect, self.canaries, self.published = ModelState.READY, False, 0, 0
        self.go = asyncio.Event()

    def wants_canary(self):
        return self.suspect

    def publish_state(self):
        self.published += 1

    async def check_canary(self):
        self.canaries += 1
        await self.go.wait()


@pytest.fixture
def clock():
    return Clock()


async def look(watchdog, clock, now):
    clock.now = now
    watchdog.tick()
    await settle()


async def test_the_canary_runs_again_after_its_interval_and_never_twice_at_a_time(clock):
    model = Model()
    watchdog = Watchdog([model], WatchdogSettings(canary_interval_s=60.0), clock)
    counts = []
    for now in (0.0, 59.0, 60.0, 125.0):
        await look(watchdog, clock, now)
        counts.append(model.canaries)
    assert counts == [0, 0, 1, 1]
    model.go.set()
    await settle()
    await look(watchdog, clock, 126.0)
    assert model.canaries == 2
    assert model.published == 5
    await watchdog.close()


async def test_a_suspect_model_is_asked_soon_but_not_all_the_time(clock):
    model = Model()
    model.go.set()
    watchdog = Watchdog([model], WatchdogSettings(canary_interval_s=0.0), clock)
    await look(watchdog, clock, 0.0)
    model.suspect = True
    await look(watchdog, clock, SUSPECT_GAP_S - 1)
    assert model.canaries == 0
    await look(watchdog, clock, SUSPECT_GAP_S)
    await look(watchdog, clock, SUSPECT_GAP_S + 1)
    assert model.canaries == 1
    await watchdog.close()


async def test_a_loading_model_is_left_alone(clock):
    model = Model()
    model.state, model.suspect = ModelState.LOADING, True
    watchdog = Watchdog([model], WatchdogSettings(), clock)
    for now in (0.0, 1000.0):
        await look(watchdog, clock, now)
    assert model.canaries == 0


async def test_models_come_and_go_between_looks(clock):
    models = [Model()]
    watchdog = Watchdog(models, WatchdogSettings(canary_interval_s=60.0), clock)
    await look(watchdog, clock, 0.0)
    models.append(Model())
    await look(watchdog, clock, 59.0)
    await look(watchdog, clock, 61.0)
    assert [model.canaries for model in models] == [1, 0]  # the new one has been there for 2 s
    gone = models.pop(0)
    await watchdog.leave(gone)
    seen = gone.published
    await look(watchdog, clock, 200.0)
    assert (gone.published, gone.canaries, models[0].canaries) == (seen, 1, 1)
    assert not any(check.done() for check in watchdog._checks.values())
    await watchdog.leave(gone)  # again: nothing to forget
    await watchdog.close()


async def test_a_started_watchdog_looks_until_it_is_closed(clock, monkeypatch):
    monkeypatch.setattr(watchdog_module, "TICK_S", 0.0)
    model = Model()
    watchdog = Watchdog([model], WatchdogSettings(), clock)
    await settle()
    assert model.published == 0
    watchdog.start()
    await settle()
    assert watchdog.alive()
    assert model.published > 1
    await watchdog.close()
    seen = model.published
    await settle()
    assert model.published == seen


async def test_a_watchdog_survives_a_fault_in_one_look_and_is_not_alive_once_its_task_has_died(clock, monkeypatch):
    monkeypatch.setattr(watchdog_module, "TICK_S", 0.0)
    model = Model()
    model.publish_state = lambda: 1 / 0
    watchdog = Watchdog([model], WatchdogSettings(), clock)
    assert watchdog.alive()  # not started, which is no fault
    watchdog.start()
    await settle()
    assert watchdog.alive()
    watchdog._task.cancel()
    await settle()
    assert not watchdog.alive()
    await watchdog.close()


async def test_weights_that_rot_while_serving_make_the_model_unready_and_it_recovers(caplog):
    async with Rig() as rig:
        model = next(iter(rig.service._directory))
        sound = model.loaded.canary.outputs["logits"].copy()
        model.loaded.canary.outputs["logits"][0, 0] += np.float32(1.0)
        with caplog.at_level(logging.CRITICAL):
            await model.check_canary()
        assert "off by 1" in rig.service.readiness().models["dummy@1"]
        assert rig.value("vlpserve_model_ready", model="dummy@1") == 0
        assert model.wants_canary()
        with pytest.raises(UnavailableError, match="off by 1"):
            await rig.service.vqa(picture(), [VqaQuery("a")])
        model.loaded.canary.outputs["logits"][:] = sound
        await model.check_canary()
        assert rig.service.readiness().ready
        assert rig.value("vlpserve_model_ready", model="dummy@1") == 1
        assert rig.value("vlpserve_canary_total", model="dummy@1", result="ok") == 2
        assert rig.value("vlpserve_canary_total", model="dummy@1", result="failed") == 1


async def test_a_batch_that_failed_as_a_whole_makes_the_model_suspect():
    async with Rig() as rig:
        model = next(iter(rig.service._directory))
        assert not model.wants_canary()
        with pytest.raises(InferenceError):
            await rig.service.vqa(picture(), [VqaQuery("[fail]")])
        assert model.wants_canary()
        await model.check_canary()
        assert not model.wants_canary()
        assert rig.service.readiness().ready
