"""Models that come to a running server while their graphs lie in another process."""

import asyncio

import pytest
from model_versions import ask, publish_two, states
from service_rig import Rig, tiny_model, until
from vlp_server.core import model_loader
from vlp_server.core.records import VersionState
from vlp_server.engines.dummy import DummyEngine
from vlp_spec.errors import ModelConflictError, ModelNotFoundError, UnavailableError


@pytest.fixture
def root(tmp_path):
    return publish_two(tmp_path)


class EngineElsewhere(DummyEngine):
    """Its graphs are there later, in another process as it were."""

    away = "waiting for another process"
    wrong: tuple[str, ...] = ()

    def attach(self, loop, prove, task_models=()):
        """Nobody is asked."""

    async def infer(self, key, feeds, terms):
        return self.run(key, feeds)

    def disproved(self):
        return False

    def places(self):
        return {"a:1": self.away is None, "b:2": False}

    async def check(self):
        """What is wrong is told by `found_wrong`."""

    def found_wrong(self):
        found, self.wrong = self.wrong, ()
        return list(found)

    def why_not_ready(self):
        return self.away


class RigElsewhere(Rig):
    """The first engine is here, the others are elsewhere."""

    def _make(self, settings):
        if not self.engines:
            return super()._make(settings)
        self.engines.append(EngineElsewhere(settings))
        return self.engines[-1]


async def test_a_version_whose_graphs_lie_elsewhere_is_served_when_they_are_there(root):
    async with RigElsewhere(tiny_model(root, "tiny@1")) as rig:
        loading = asyncio.create_task(rig.service.management.load("tiny", 2))
        await until(lambda: len(rig.engines) == 2)
        assert await states(rig) == {1: VersionState.SERVED, 2: VersionState.LOADING}
        with pytest.raises(ModelNotFoundError):
            rig.service._directory.find("tiny@2")
        rig.engines[1].away = None
        assert [row.state for row in await loading] == [VersionState.SERVED, VersionState.SERVED]
        assert (await ask(rig, "tiny@2")).model == "tiny@2"
        rig.engines[1].away = "waiting again"
        with pytest.raises(UnavailableError, match="waiting again"):
            await rig.service.management.switch("tiny", 2)
        assert rig.service.readiness().ready


async def test_nobody_waits_for_ever_for_what_lies_elsewhere(root, monkeypatch):
    monkeypatch.setattr(model_loader, "_ELSEWHERE_LIMIT_S", 0.0)
    async with RigElsewhere(tiny_model(root, "tiny@1")) as rig:
        with pytest.raises(ModelConflictError, match="cannot be served: waiting for another process"):
            await rig.service.management.load("tiny", 2)
        assert not rig.engines[1]._graphs  # it was told to forget them
        assert await states(rig) == {1: VersionState.SERVED, 2: VersionState.FAILED}


class AllElsewhere(Rig):
    def _make(self, settings):
        self.engines.append(EngineElsewhere(settings))
        self.engines[-1].away = None
        return self.engines[-1]


async def test_the_gauges_follow_what_lies_elsewhere(root):
    async with AllElsewhere(tiny_model(root, "tiny@1")) as rig:
        (model,) = rig.service._directory
        model.publish_state()
        assert rig.value("vlpserve_model_ready", model="tiny@1") == 1
        assert rig.value("vlpserve_engine_address_up", model="tiny@1", address="a:1") == 1
        assert rig.value("vlpserve_engine_address_up", model="tiny@1", address="b:2") == 0
        rig.engines[0].away = "waiting"
        model.publish_state()
        assert rig.value("vlpserve_model_ready", model="tiny@1") == 0
        assert rig.value("vlpserve_engine_address_up", model="tiny@1", address="a:1") == 0


async def test_one_place_that_is_wrong_costs_kept_answers_and_not_the_model(root):
    async with AllElsewhere(tiny_model(root, "tiny@1")) as rig:
        (model,) = rig.service._directory
        await ask(rig, "tiny@1")
        assert (await ask(rig, "tiny@1")).timings.cached == 1
        await model.check_canary()
        assert (await ask(rig, "tiny@1")).timings.cached == 1
        rig.engines[0].wrong = ("canary: output 'y' is off by 3",)
        await model.check_canary()
        assert rig.service.readiness().ready
        assert (await ask(rig, "tiny@1")).timings.cached == 0
        assert rig.value("vlpserve_canary_total", model="tiny@1", result="failed") == 1
        rig.engines[0].wrong = ("canary: output 'y' is off by 3",)
        model.publish_state()  # at the watchdog's next look, whoever found it
        assert (await ask(rig, "tiny@1")).timings.cached == 0
