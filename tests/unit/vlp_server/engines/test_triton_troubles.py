"""Servers that play Triton and fail: what is asked of another one, what is noted of them, and who waits for whom."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import vlp_server.engines.triton as triton
from service_rig import until
from triton_rig import FEEDS, KEY, TERMS, VQA, attached, calls, doubled, failing, wrong
from triton_standin import Call, Fault, TritonStandIn, words
from vlp_server.engines.base import CallTerms, TaskCall
from vlp_server.engines.settings import EngineSettings
from vlp_server.engines.triton import TritonEngine
from vlp_spec.errors import (
    ConfigError,
    InferenceError,
    OverloadedError,
    UnavailableError,
    VlpError,
)
from vlp_spec.tasks import Lane, Task


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "LOOK_S", 0.005)
    monkeypatch.setattr(triton, "UNPROVED_LOOK_S", 0.005)


BETTER_ELSEWHERE = [
    ("UNAVAILABLE", "Exceeds maximum queue size", OverloadedError),
    ("UNAVAILABLE", "unavailable: graph g cannot be asked now", UnavailableError),
    ("INTERNAL", "Stub process 'g_0_0' is not healthy.", UnavailableError),
]


@pytest.mark.parametrize(("status", "message", "kind"), BETTER_ELSEWHERE)
async def test_what_another_server_may_do_better_is_asked_of_it(
    one: TritonStandIn, two: TritonStandIn, status: str, message: str, kind: type[VlpError]
) -> None:
    async with attached(one, two) as engine:
        one.answer = failing(status, message)
        for _ in range(20):
            np.testing.assert_array_equal((await engine.infer(KEY, FEEDS, TERMS))["y"], [[2, 4]])
        assert calls(one)[0] <= 2  # it is tried again later, and not at each call
        assert all(server.up for server in engine._servers)
        two.answer = one.answer
        with pytest.raises(kind):
            await engine.infer(KEY, FEEDS, TERMS)


async def test_a_copy_that_has_died_is_followed_by_the_other_one(one: TritonStandIn) -> None:
    async with attached(one) as engine:

        def one_of_two(call: Call) -> dict[str, np.ndarray]:
            if len(one.calls) % 2:
                raise Fault("INTERNAL", "Stub process 'g_0_0' is not healthy.")
            return doubled(call)

        one.answer = one_of_two
        for _ in range(3):
            np.testing.assert_array_equal((await engine.infer(KEY, FEEDS, TERMS))["y"], [[2, 4]])
        assert engine.ready(KEY)


async def test_one_that_fails_at_once_is_not_the_least_busy_one(one: TritonStandIn, two: TritonStandIn) -> None:
    async with attached(one, two) as engine:
        one.answer = failing("INTERNAL", "boom")
        failed = 0
        for _ in range(20):
            try:
                await engine.infer(KEY, FEEDS, TERMS)
            except InferenceError:
                failed += 1
        assert failed <= 2


async def test_one_task_that_is_unable_leaves_the_others_alone(one: TritonStandIn) -> None:
    async with attached(one) as engine:

        def answer(call: Call) -> dict[str, np.ndarray]:
            if call.model == "m.match":
                raise Fault("UNAVAILABLE", "unavailable: waiting for the graphs")
            return {"result": words("{}")} if call.model != "g" else doubled(call)

        one.answer = answer
        for _ in range(5):
            with pytest.raises(UnavailableError):
                await engine.ask(TaskCall(Task.MATCH, "m", 4, [b"p"], ["a"], {}), TERMS)
            assert await engine.ask(VQA, TERMS) == [b"{}"]


async def test_bulk_tasks_leave_room_for_who_is_in_a_hurry(one: TritonStandIn) -> None:
    go = asyncio.Event()

    async def held(call: Call) -> dict[str, np.ndarray]:
        if call.model == "g":
            return doubled(call)
        if call.parameters["lane"] == "bulk":
            await go.wait()
        return {"result": words("{}")}

    one.answer = held
    async with attached(one, triton_connections=4) as engine:
        bulk = CallTerms(timeout_s=10.0, lane=Lane.BULK)
        asked = [asyncio.create_task(engine.ask(VQA, bulk)) for _ in range(6)]
        await until(lambda: len(one.calls) == 2)
        assert await engine.ask(VQA, TERMS) == [b"{}"]
        go.set()
        await asyncio.gather(*asked)


async def test_closing_is_no_ones_leaving(one: TritonStandIn) -> None:
    async def held(call: Call) -> dict[str, np.ndarray]:
        return await asyncio.Future()

    async with attached(one) as engine:
        one.answer = held
        asked = asyncio.create_task(engine.infer(KEY, FEEDS, TERMS))
        await until(lambda: len(one.calls) == 1)
        engine.close()
        with pytest.raises(UnavailableError):
            await asked


def test_a_certificate_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    settings = EngineSettings(engine="triton", triton_urls=("h:1",), triton_ca_file=tmp_path / "ca.pem")
    with pytest.raises(ConfigError, match="triton_ca_file"):
        TritonEngine(settings)


async def test_a_triton_that_hangs_while_it_proves_itself_is_late_and_not_wrong(
    one: TritonStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton, "_RUN_TIMEOUT_S", 0.05)
    monkeypatch.setattr(triton, "_GRACE_S", 0.05)

    async def held(call: Call) -> dict[str, np.ndarray]:
        return await asyncio.Future()

    one.answer = held
    async with attached(one, ready=False) as engine:
        await until(lambda: len(one.calls) > 2)
        assert not engine.disproved()
        assert engine.found_wrong() == []


async def test_a_server_that_fails_fast_is_not_the_least_busy_one(one: TritonStandIn, two: TritonStandIn) -> None:
    async with attached(one, two) as engine:
        answered = {"result": words("{}")}

        def unable(call: Call) -> dict[str, np.ndarray]:
            return (
                failing("UNAVAILABLE", "unavailable: waiting for the graphs")(call)
                if call.model != "g"
                else doubled(call)
            )

        one.answer = unable
        two.answer = lambda call: answered if call.model != "g" else doubled(call)
        for _ in range(40):
            assert await engine.ask(VQA, TERMS) == [b"{}"]
        assert sum(call.model != "g" for call in one.calls) <= 2


async def test_a_model_that_a_server_has_lost_is_noticed_before_it_is_asked_for(one: TritonStandIn) -> None:
    async with attached(one) as engine:
        one.loaded["g"] = []
        await until(lambda: "has not loaded g version 1" in (engine.why_not_ready() or ""))
        assert calls(one) == [0]
        one.loaded["g"] = [1]
        await until(lambda: engine.ready(KEY))


async def test_graphs_that_have_gone_silent_show_that_they_can_or_are_asked_no_more(
    one: TritonStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triton, "SILENT_GRAPHS_S", 0.05)
    monkeypatch.setattr(triton, "_SHOW_TIMEOUT_S", 0.2)
    hanging = False

    async def held(call: Call) -> dict[str, np.ndarray]:
        if hanging or np.any(call.inputs["x"] == 7):
            await asyncio.Future()
        return doubled(call)

    one.answer = held
    async with attached(one) as engine:
        slow = asyncio.create_task(engine.infer(KEY, {"x": np.array([[7, 7]], np.int32)}, TERMS))
        await until(lambda: len(one.calls) > 3)  # its canary is run, and comes back right
        assert engine.ready(KEY)
        hanging = True
        await until(lambda: not engine.ready(KEY))
        assert not engine.disproved()
        hanging = False
        await until(lambda: engine.ready(KEY))
        slow.cancel()
        await asyncio.wait({slow})


async def test_tasks_that_have_gone_silent_end_it(one: TritonStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "SILENT_TASKS_S", 0.05)

    async def held(call: Call) -> dict[str, np.ndarray]:
        return doubled(call) if call.model == "g" else await asyncio.Future()

    one.answer = held
    async with attached(one) as engine:
        asked = asyncio.create_task(engine.ask(VQA, TERMS))
        await until(lambda: not engine.ready(KEY))
        asked.cancel()
        await asyncio.wait({asked})
        await until(lambda: engine.ready(KEY))


async def test_a_canary_that_is_off_at_one_server_leaves_the_other(one: TritonStandIn, two: TritonStandIn) -> None:
    async with attached(one, two) as engine:
        await engine.check()
        assert engine.found_wrong() == []
        one.answer = wrong
        await engine.check()
        (reason,) = engine.found_wrong()
        assert "output 'y' is off by 2" in reason
        assert engine.found_wrong() == []
        assert engine.places() == {one.url: False, two.url: True}
        assert engine.ready(KEY)
        assert not engine.disproved()
        two.answer = failing("UNAVAILABLE", "Socket closed")
        await engine.check()
        assert engine.found_wrong() == []  # no verdict


async def test_large_pictures_wait_for_each_other(one: TritonStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "_TASK_BYTES", 10)
    go, inside = asyncio.Event(), 0

    async def held(call: Call) -> dict[str, np.ndarray]:
        nonlocal inside
        if call.model == "g":
            return doubled(call)
        inside += 1
        await go.wait()
        inside -= 1
        return {"result": words("{}")}

    one.answer = held
    async with attached(one) as engine:
        call = TaskCall(Task.MATCH, "m", 4, [b"12345678"], ["a"], {})
        asked = [asyncio.create_task(engine.ask(call, TERMS)) for _ in range(4)]
        await until(lambda: inside == 1)
        asked[1].cancel()
        await asyncio.sleep(0.05)
        assert inside == 1
        go.set()
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert [result for result in results if not isinstance(result, BaseException)] == [[b"{}"]] * 3


@pytest.fixture(autouse=True)
def _sound_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No exception that nobody saw."""
    yield
    assert not [record for record in caplog.records if record.name == "asyncio"]
