"""The triton engine where it manages the models of its servers, over one that plays Triton."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import vlp_server.engines.triton as triton
import vlp_server.engines.triton_models as triton_models
from service_rig import until
from triton_rig import KEY, attached
from triton_standin import Fault, TritonStandIn
from vlp_server.engines.base import HostedModel
from vlp_spec.errors import ArtifactError

TASKS = (HostedModel("m.vqa", 1, required=False), HostedModel("m.match", 1, required=False))


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "LOOK_S", 0.005)
    monkeypatch.setattr(triton, "UNPROVED_LOOK_S", 0.005)
    monkeypatch.setattr(triton_models, "SETTLE_S", 0.02)


@pytest.fixture
async def one() -> AsyncIterator[TritonStandIn]:
    async with TritonStandIn(lambda call: {"y": call.inputs["x"] * 2.0}, g=[1, 2], m__vqa=[1]) as started:
        yield started


async def test_tasks_that_are_not_asked_come_and_go_with_the_graphs(one: TritonStandIn) -> None:
    one.loaded = {"g": [2], "m.vqa": []}
    async with attached(one, task_models=TASKS, triton_manage=True) as engine:
        assert one.loaded == {"g": [1, 2], "m.vqa": [1]}
        await asyncio.to_thread(engine.unload, KEY)
        assert one.loaded == {"g": [2], "m.vqa": []}


async def test_tasks_that_are_not_asked_are_no_condition(one: TritonStandIn) -> None:
    one.on_disk, one.loaded = {"g": [1]}, {"g": [1]}
    async with attached(one, task_models=TASKS) as engine:
        assert engine.ready(KEY)
    async with attached(one, task_models=TASKS, triton_manage=True) as engine:
        assert engine.ready(KEY)


async def test_a_graph_that_is_unloaded_while_it_is_loaded_stays_unloaded(one: TritonStandIn) -> None:
    one.loaded = {"g": [2], "m.vqa": []}
    loading, go = asyncio.Event(), asyncio.Event()

    async def held(name: str) -> None:
        loading.set()
        await go.wait()

    one.before_load = held
    async with attached(one, ready=False, task_models=TASKS, triton_manage=True) as engine:
        await loading.wait()
        await asyncio.to_thread(engine.unload, KEY)
        go.set()
        await until(lambda: len(one.loads) == 2)  # it came, and was told to leave
        assert one.loaded == {"g": [2], "m.vqa": []}
        await asyncio.sleep(0.05)
        assert one.loaded == {"g": [2], "m.vqa": []}
        assert len(one.loads) == 2


async def test_a_fault_of_unloading_is_told(one: TritonStandIn) -> None:
    def refuse(name: str) -> None:
        raise Fault("INTERNAL", "no")

    one.loaded = {"g": [1], "m.vqa": []}
    one.before_unload = refuse
    async with attached(one, triton_manage=True) as engine:
        with pytest.raises(ArtifactError, match="g version 1 cannot be unloaded there"):
            await asyncio.to_thread(engine.unload, KEY)
        assert not engine.ready(KEY)
