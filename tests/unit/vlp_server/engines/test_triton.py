"""The triton engine over servers that play Triton: which is asked, what is tried again, what is proved and when."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import vlp_server.engines.triton as triton
from service_rig import until
from triton_rig import FEEDS, KEY, TERMS, VQA, attached, calls, doubled, failing, wrong
from triton_standin import Call, Fault, TritonStandIn, words
from vlp_server.engines.base import CallTerms, HostedModel, RemoteEngine, TaskCall, TaskServer
from vlp_server.engines.settings import EngineSettings
from vlp_server.engines.triton import TritonEngine
from vlp_spec.errors import (
    DeadlineError,
    InferenceError,
    InternalError,
    InvalidImageError,
    UnavailableError,
    VlpError,
)
from vlp_spec.tasks import Lane, Task


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton, "LOOK_S", 0.005)
    monkeypatch.setattr(triton, "UNPROVED_LOOK_S", 0.005)


def test_it_is_what_the_core_takes_it_for() -> None:
    engine = TritonEngine(EngineSettings(engine="triton", triton_urls=("h:1",)))
    assert isinstance(engine, RemoteEngine)
    assert isinstance(engine, TaskServer)
    engine.close()


async def test_calls_are_shared_out_to_the_least_busy(one: TritonStandIn, two: TritonStandIn) -> None:
    async with attached(one, two) as engine:
        for _ in range(6):
            np.testing.assert_array_equal((await engine.infer(KEY, FEEDS, TERMS))["y"], [[2, 4]])
        assert calls(one, two) == [3, 3]  # of equals, the one that was asked longest ago
        go = asyncio.Event()

        async def held(call: Call) -> dict[str, np.ndarray]:
            await go.wait()
            return doubled(call)

        one.answer = held
        slow = [asyncio.create_task(engine.infer(KEY, FEEDS, TERMS)) for _ in range(2)]
        await until(lambda: len(one.calls) == 4 and len(two.calls) == 4)
        for _ in range(4):
            await engine.infer(KEY, FEEDS, TERMS)
        assert calls(one, two) == [4, 8]
        go.set()
        await asyncio.gather(*slow)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("UNAVAILABLE", "Socket closed"),
        ("NOT_FOUND", "Request for unknown model: 'g' is not found"),
        ("INVALID_ARGUMENT", "Request for unknown model: 'g' has no available versions"),
        ("CANCELLED", "the server is stopping"),
    ],
)
async def test_a_call_that_a_server_lost_goes_to_the_other_one(
    one: TritonStandIn, two: TritonStandIn, status: str, message: str
) -> None:
    async with attached(one, two) as engine:
        lost = one if engine._tries("g")._left[0].url == one.url else two
        lost.answer = failing(status, message)
        lost.loaded["g"] = []  # so that it does not come back within this test
        np.testing.assert_array_equal((await engine.infer(KEY, FEEDS, TERMS))["y"], [[2, 4]])
        assert calls(one, two) == [1, 1]
        for _ in range(3):
            await engine.infer(KEY, FEEDS, TERMS)
        assert calls(lost) == [1]
        assert engine.why_not_ready() is None


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        ("INTERNAL", "boom", InferenceError),
        ("INVALID_ARGUMENT", "unexpected shape for input 'x'", InferenceError),
        ("UNAVAILABLE", "Request timeout expired", DeadlineError),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", DeadlineError),
        ("INVALID_ARGUMENT", "invalid_image: no picture", InvalidImageError),
    ],
)
async def test_what_a_server_answered_is_not_asked_of_another(
    one: TritonStandIn, two: TritonStandIn, status: str, message: str, kind: type[VlpError]
) -> None:
    async with attached(one, two) as engine:
        one.answer = two.answer = failing(status, message)
        with pytest.raises(kind):
            await engine.infer(KEY, FEEDS, TERMS)
        assert sum(calls(one, two)) == 1
        assert all(server.up for server in engine._servers)


async def test_all_tries_are_within_one_deadline(one: TritonStandIn, two: TritonStandIn) -> None:
    async def late(call: Call) -> dict[str, np.ndarray]:
        await asyncio.sleep(0.05)
        raise Fault("UNAVAILABLE", "Socket closed")

    async with attached(one, two) as engine:
        one.answer = two.answer = late
        one.loaded["g"] = two.loaded["g"] = []  # or the engine would prove them again meanwhile
        with pytest.raises(UnavailableError) as caught:
            await engine.infer(KEY, FEEDS, CallTerms(timeout_s=5.0))
        first, second = sorted(call.timeout_us for call in (*one.calls, *two.calls))
        assert first <= second - 50_000
        assert caught.value.retry_after_s > 0
        assert one.url in (caught.value.detail or "")
        assert two.url in (caught.value.detail or "")


async def test_nobody_there_is_told_at_once_and_asks_nobody(one: TritonStandIn) -> None:
    one.live = False
    async with attached(one, ready=False) as engine:
        await until(lambda: bool(engine._servers))
        assert "waiting for Triton" in (engine.why_not_ready() or "")
        assert not engine.ready(KEY)
        with pytest.raises(UnavailableError):
            await engine.infer(KEY, FEEDS, TERMS)
        with pytest.raises(UnavailableError):
            await engine.ask(TaskCall(Task.VQA, "m", 1, [b"p"], ["q"], {}), TERMS)
        assert calls(one) == [0]
        one.live = True
        await until(lambda: engine.ready(KEY))
        assert engine.why_not_ready() is None


async def test_a_server_that_goes_away_and_comes_back_proves_itself_again(one: TritonStandIn) -> None:
    async with attached(one) as engine:
        await one.stop()
        await until(lambda: not engine.ready(KEY))
        assert not engine.disproved()
        one.answer = wrong
        await one.start()
        await until(engine.disproved)
        assert not engine.ready(KEY)
        one.answer = doubled
        await until(lambda: engine.ready(KEY))
        assert not engine.disproved()


async def test_wrong_answers_disprove_and_being_away_does_not(one: TritonStandIn, two: TritonStandIn) -> None:
    one.answer = wrong
    async with attached(one, two, ready=False) as engine:
        await until(lambda: engine.ready(KEY) and any(server.disproved for server in engine._servers))
        assert not engine.disproved()  # the other one is right
        for _ in range(3):
            np.testing.assert_array_equal((await engine.infer(KEY, FEEDS, TERMS))["y"], [[2, 4]])
        two.live = False
        await until(lambda: not engine.ready(KEY))
        assert not engine.disproved()  # of two nothing is known
        two.answer, two.live = wrong, True
        await until(engine.disproved)
        assert "off by 2" in (engine.why_not_ready() or "")
        one.live = False
        await until(lambda: not engine.disproved())  # it is away: another one may come in its place
        assert "waiting for Triton" in (engine.why_not_ready() or "")


async def test_a_canary_that_finds_nobody_is_no_verdict(one: TritonStandIn) -> None:
    one.answer = failing("UNAVAILABLE", "Socket closed")
    async with attached(one, ready=False) as engine:
        await until(lambda: len(one.calls) > 2)
        assert not engine.disproved()
        assert not engine.ready(KEY)


async def test_a_model_that_is_not_loaded_is_waited_for_by_name(one: TritonStandIn) -> None:
    one.loaded["g"] = []
    task = HostedModel("m.vqa", 1)
    async with attached(one, ready=False, task_models=(task,)) as engine:
        await until(lambda: "has not loaded g version 1" in (engine.why_not_ready() or ""))
        one.loaded["g"] = [1]
        await until(lambda: "has not loaded m.vqa version 1" in (engine.why_not_ready() or ""))
        assert one.loads == []  # it is not ours to load
        assert calls(one) == [0]
        one.loaded["m.vqa"] = [1]
        await until(lambda: engine.ready(KEY))


async def test_where_models_are_managed_they_are_loaded_and_at_the_end_unloaded(one: TritonStandIn) -> None:
    one.on_disk = {"g": [1, 2], "m.vqa": [1]}
    one.loaded = {"g": [2], "m.vqa": []}
    async with attached(one, task_models=(HostedModel("m.vqa", 1),), triton_manage=True) as engine:
        assert one.loaded == {"g": [1, 2], "m.vqa": [1]}
        await asyncio.to_thread(engine.unload, "unknown")
        assert one.loaded == {"g": [1, 2], "m.vqa": [1]}
        await asyncio.to_thread(engine.unload, KEY)
        assert one.loaded == {"g": [2], "m.vqa": []}
        with pytest.raises(InternalError):
            await engine.infer(KEY, FEEDS, TERMS)


async def test_a_model_that_cannot_be_loaded_there_disproves(one: TritonStandIn) -> None:
    one.on_disk, one.loaded = {}, {}
    async with attached(one, ready=False, triton_manage=True) as engine:
        await until(engine.disproved)
        assert "g version 1 cannot be loaded there" in (engine.why_not_ready() or "")


async def test_unloading_leaves_alone_what_others_manage(one: TritonStandIn) -> None:
    async with attached(one) as engine:
        await asyncio.to_thread(engine.unload, KEY)
        assert one.loaded == {"g": [1]}


async def test_it_can_be_run_from_any_thread_until_it_is_closed(one: TritonStandIn) -> None:
    async with attached(one) as engine:
        outputs = await asyncio.to_thread(engine.run, KEY, FEEDS)
        np.testing.assert_array_equal(outputs["y"], [[2, 4]])
        engine.close()
        engine.close()
        with pytest.raises(InternalError):
            await asyncio.to_thread(engine.run, KEY, FEEDS)
        await until(lambda: engine.why_not_ready() == "closed")


def test_run_before_it_is_attached_is_a_fault_of_ours() -> None:
    engine = TritonEngine(EngineSettings(engine="triton", triton_urls=("h:1",)))
    with pytest.raises(InternalError):
        engine.run(KEY, FEEDS)
    engine.close()


async def test_a_task_is_asked_as_a_plain_client_would(one: TritonStandIn) -> None:
    async with attached(one) as engine:
        one.answer = lambda call: {"answer": words("a", "b"), "result": words('{"r": 1}', '{"r": 2}')}
        assert await engine.ask(VQA, CallTerms(timeout_s=3.0)) == [b'{"r": 1}', b'{"r": 2}']
        (call,) = one.calls
        assert (call.model, call.version) == ("m.vqa", "4")
        assert list(call.inputs["image"]) == [b"picture"]
        assert [text.decode() for text in call.inputs["text"]] == list(VQA.texts)
        assert json.loads(call.inputs["options"][0]) == VQA.options
        assert call.inputs["options"].shape == (1,)
        assert call.seconds_left == pytest.approx(3.0, abs=1)


async def test_a_task_that_a_server_lost_goes_to_the_other_one(one: TritonStandIn, two: TritonStandIn) -> None:
    async with attached(one, two) as engine:
        answers = Counter[str]()

        def lost(call: Call) -> dict[str, np.ndarray]:
            answers[call.model] += 1
            if answers[call.model] == 1:
                raise Fault("UNAVAILABLE", "Socket closed")
            return {"result": words("{}")}

        one.answer = two.answer = lost
        assert await engine.ask(VQA, TERMS) == [b"{}"]
        assert answers["m.vqa"] == 2


async def test_an_answer_without_its_outputs_is_a_fault_of_that_server(one: TritonStandIn, two: TritonStandIn) -> None:
    async with attached(one, two) as engine:
        first, second = (one, two) if engine._tries("g")._left[0].url == one.url else (two, one)
        first.answer = lambda call: {} if call.model == "m.vqa" else doubled(call)
        second.answer = lambda call: {"result": words("{}")} if call.model == "m.vqa" else doubled(call)
        assert await engine.ask(VQA, TERMS) == [b"{}"]


async def test_a_task_carries_its_lane_and_its_time(one: TritonStandIn) -> None:
    async with attached(one) as engine:
        one.answer = lambda call: {"result": words("{}", "{}")}
        await engine.ask(VQA, CallTerms(timeout_s=3.0, lane=Lane.BULK))
        (call,) = one.calls
        assert call.parameters["lane"] == "bulk"
        assert 2000 < int(str(call.parameters["timeout_ms"])) <= 3000


@pytest.fixture(autouse=True)
def _sound_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No exception that nobody saw."""
    yield
    assert not [record for record in caplog.records if record.name == "asyncio"]
