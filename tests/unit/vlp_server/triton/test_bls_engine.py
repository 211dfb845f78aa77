"""The engine inside Triton: other graphs of the same server, played by functions."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import vlp_server.triton.bls_engine as bls_engine
from service_rig import settle, until
from tiny_repository import publish
from triton_backend import Arrays, Backend, Refusal
from vlp_server.engines.base import CallTerms, LoadedGraph, RemoteEngine, Runner, TaskServer
from vlp_server.engines.settings import EngineSettings
from vlp_server.triton.bls_engine import BlsEngine
from vlp_spec.deployment import GraphRef
from vlp_spec.errors import (
    ArtifactError,
    DeadlineError,
    InferenceError,
    InternalError,
    InvalidImageError,
    OverloadedError,
    UnavailableError,
    VlpError,
)
from vlp_spec.found_deployment import find_deployment
from vlp_spec.tensors import TensorSpec

KEY = "m@2/fusion"
GRAPH = LoadedGraph(
    KEY,
    GraphRef(
        role="fusion",
        name="g",
        version=2,
        backend="onnxruntime",
        files={},
        inputs=(TensorSpec("x", "float32", ("batch", 2)), TensorSpec("n", "int32", ("batch",))),
        outputs=(TensorSpec("y", "float32", ("batch", 2)), TensorSpec("m", "float32", ("batch",))),
    ),
    Path(),
    {},
)
FEEDS = {"x": np.array([[1, 2], [3, 4]], np.float32), "n": np.array([5, 6], np.int32)}
TERMS = CallTerms(timeout_s=2.5)


def doubled(feeds: Arrays) -> Arrays:
    assert feeds["n"].shape == (len(feeds["x"]), 1)  # Triton takes no tensor without sizes
    return {"y": feeds["x"] * 2, "m": feeds["n"].astype(np.float32) * 2}


def prove(runner: Runner) -> None:
    if not np.array_equal(runner.run(KEY, FEEDS)["m"], [10, 12]):
        raise ArtifactError("canary: output 'm' is off by 1")


@pytest.fixture
def backend() -> Backend:
    return Backend(g=doubled)


@pytest.fixture
def wanted() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@pytest.fixture
def engine(backend: Backend, wanted: asyncio.Event, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlsEngine]:
    monkeypatch.setattr(bls_engine, "LOOK_S", 0.005)
    made = BlsEngine(EngineSettings(engine="triton", triton_urls=("in-process:0",), threads=1), backend, wanted)
    made.load(GRAPH)
    yield made
    made.close()


def test_it_is_a_remote_engine_that_does_no_tasks_itself(engine: BlsEngine) -> None:
    assert isinstance(engine, RemoteEngine)
    assert not isinstance(engine, TaskServer)  # or it would ask itself


def test_a_graph_is_asked_by_name_and_version_and_for_what_it_has(engine: BlsEngine, backend: Backend) -> None:
    outputs = engine.run(KEY, FEEDS)
    np.testing.assert_array_equal(outputs["y"], [[2, 4], [6, 8]])
    np.testing.assert_array_equal(outputs["m"], [10, 12])
    (asked,) = backend.asked
    assert (asked.model_name, asked.model_version, asked.requested_output_names) == ("g", 2, ["y", "m"])


def test_arrays_that_lie_otherwise_in_memory_are_sent_all_the_same(engine: BlsEngine) -> None:
    feeds = {**FEEDS, "x": np.asfortranarray(np.arange(8, dtype=np.float32).reshape(2, 4))[:, ::2]}
    np.testing.assert_array_equal(engine.run(KEY, feeds)["y"], [[0, 4], [8, 12]])


def test_outputs_are_copies_of_memory_that_the_server_wants_back(engine: BlsEngine, backend: Backend) -> None:
    shared = np.ones((2, 2), np.float32)
    backend.graphs["g"] = lambda feeds: {**doubled(feeds), "y": shared}
    outputs = engine.run(KEY, FEEDS)
    shared[:] = 7
    np.testing.assert_array_equal(outputs["y"], np.ones((2, 2)))
    outputs["y"][:] = 0
    assert shared[0, 0] == 7


async def test_a_call_has_the_callers_time(engine: BlsEngine, backend: Backend) -> None:
    await engine.infer(KEY, FEEDS, TERMS)
    await engine.infer(KEY, FEEDS, CallTerms(timeout_s=1e-9))
    assert [asked.timeout for asked in backend.asked] == [2_500_000, 1]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("[request id: 1] Exceeds maximum queue size", OverloadedError),
        ("Request timeout expired", DeadlineError),
        ("Model 'g' is not ready.", UnavailableError),
        ("Request for unknown model: 'g' is not found", UnavailableError),
        ("Request for unknown model: 'g' has no available versions", UnavailableError),
        ("inference_failed: the model failed on this item", InferenceError),
        ("invalid_image: no picture", InvalidImageError),
        ("internal: internal error", InternalError),
        ("onnx runtime error 2", InferenceError),
        ("", InferenceError),
    ],
)
async def test_what_an_error_of_another_graph_means(
    engine: BlsEngine, backend: Backend, message: str, kind: type[VlpError]
) -> None:
    def refuse(feeds: Arrays) -> Arrays:
        raise Refusal(message)

    backend.graphs["g"] = refuse
    with pytest.raises(VlpError) as caught:
        await engine.infer(KEY, FEEDS, TERMS)
    assert type(caught.value) is kind


async def test_whatever_the_backend_raises_says_that_it_cannot_be_asked_now(
    engine: BlsEngine, backend: Backend
) -> None:
    def fail(feeds: Arrays) -> Arrays:
        raise RuntimeError("TritonModelException: /dev/shm is full")

    backend.graphs["g"] = fail
    with pytest.raises(UnavailableError) as caught:
        await engine.infer(KEY, FEEDS, TERMS)
    assert "/dev/shm" not in caught.value.message
    assert "/dev/shm" in (caught.value.detail or "")


async def test_a_graph_that_is_not_loaded_is_a_fault_of_ours(engine: BlsEngine, backend: Backend) -> None:
    engine.unload(KEY)
    engine.unload(KEY)
    with pytest.raises(InternalError):
        await engine.infer(KEY, FEEDS, TERMS)
    assert backend.asked == []


async def test_it_waits_for_the_other_graphs_and_proves_them_once(engine: BlsEngine, backend: Backend) -> None:
    del backend.graphs["g"]
    engine.attach(asyncio.get_running_loop(), prove)
    await until(lambda: len(backend.asked) > 2)
    assert not engine.ready(KEY)
    assert not engine.disproved()
    assert engine.why_not_ready()
    backend.graphs["g"] = doubled
    await until(lambda: engine.ready(KEY))
    assert engine.why_not_ready() is None
    assert not engine.ready("m@2/other")
    asked = len(backend.asked)
    await engine.infer(KEY, FEEDS, TERMS)
    assert len(backend.asked) == asked + 1


async def test_nothing_is_asked_of_other_graphs_before_something_is_wanted(
    engine: BlsEngine, backend: Backend, wanted: asyncio.Event
) -> None:
    wanted.clear()
    engine.attach(asyncio.get_running_loop(), prove)
    await settle()
    assert backend.asked == []
    assert engine.why_not_ready()
    wanted.set()
    await until(lambda: engine.ready(KEY))


async def test_wrong_answers_disprove_until_they_are_right(engine: BlsEngine, backend: Backend) -> None:
    backend.graphs["g"] = lambda feeds: {name: array + 1 for name, array in doubled(feeds).items()}
    engine.attach(asyncio.get_running_loop(), prove)
    await until(engine.disproved)
    assert engine.why_not_ready() == "canary: output 'm' is off by 1"
    backend.graphs["g"] = doubled
    await until(lambda: engine.ready(KEY))
    assert not engine.disproved()


async def test_a_fault_in_proving_is_waited_out(engine: BlsEngine) -> None:
    faults = [KeyError("x"), OSError("y")]

    def shaky(runner: Runner) -> None:
        if faults:
            raise faults.pop()
        prove(runner)

    engine.attach(asyncio.get_running_loop(), shaky)
    await until(lambda: engine.ready(KEY))
    assert not engine.disproved()


async def test_closing_ends_the_proving(engine: BlsEngine, backend: Backend) -> None:
    del backend.graphs["g"]
    engine.attach(asyncio.get_running_loop(), prove)
    await until(lambda: bool(backend.asked))
    engine.close()
    engine.close()
    assert engine._watching is not None
    await asyncio.wait({engine._watching})
    assert engine.why_not_ready() == "closed"
    engine.attach(asyncio.get_running_loop(), prove)
    await asyncio.sleep(0)
    assert engine._watching.done()


async def test_a_decoder_runs_here_and_is_asked_of_nobody(engine: BlsEngine, backend: Backend, tmp_path: Path) -> None:
    publish(tmp_path)
    found = find_deployment(tmp_path, "tiny")
    ref = replace(found.deployment.graphs[0], role="decoder")
    engine.load(LoadedGraph("m@2/decoder", ref, found.graph_dir(ref), found.deployment.axes))
    feeds = {
        "patches": np.zeros((1, 4, 12), np.uint8),
        "grid": np.full((1, 2), 2, np.int32),
        "input_ids": np.array([[2, 4, 3]], np.int32),
        "text_mask": np.ones((1, 3), np.int32),
    }
    assert engine.run("m@2/decoder", feeds)["logits"].shape == (1, 5)
    assert backend.asked == []
    engine.attach(asyncio.get_running_loop(), prove)
    await until(lambda: engine.ready("m@2/decoder"))
    engine.unload("m@2/decoder")
    assert not engine.ready("m@2/decoder")
    assert engine.ready(KEY)
    with pytest.raises(InternalError):
        engine.run("m@2/decoder", feeds)


def gone(feeds: Arrays) -> Arrays:
    raise Refusal("Request for unknown model: 'g' has no available versions")


async def test_a_graph_that_has_gone_is_proved_again_when_it_is_back(engine: BlsEngine, backend: Backend) -> None:
    engine.attach(asyncio.get_running_loop(), prove)
    await until(lambda: engine.ready(KEY))
    backend.graphs["g"] = gone
    with pytest.raises(UnavailableError) as caught:
        await engine.infer(KEY, FEEDS, TERMS)
    assert caught.value.retry_after_s > 1
    assert not engine.ready(KEY)
    assert engine.why_not_ready() == "graph g version 2 is not loaded, or broken"
    assert not engine.disproved()
    backend.graphs["g"] = doubled
    await until(lambda: engine.ready(KEY))
    np.testing.assert_array_equal((await engine.infer(KEY, FEEDS, TERMS))["m"], [10, 12])


@pytest.mark.parametrize("words", ["Stub process 'g_0_0' is not healthy.", "Model 'g' is not ready."])
@pytest.mark.parametrize("how", [Refusal, RuntimeError])
async def test_a_graph_that_broke_is_as_good_as_gone(
    engine: BlsEngine, backend: Backend, words: str, how: type[Exception]
) -> None:
    engine.attach(asyncio.get_running_loop(), prove)
    await until(lambda: engine.ready(KEY))

    def broken(feeds: Arrays) -> Arrays:
        raise how(words)

    backend.graphs["g"] = broken
    with pytest.raises(UnavailableError):
        await engine.infer(KEY, FEEDS, TERMS)
    assert not engine.ready(KEY)
    backend.graphs["g"] = doubled
    await until(lambda: engine.ready(KEY))


async def test_a_graph_that_comes_back_as_another_one_is_not_asked(engine: BlsEngine, backend: Backend) -> None:
    engine.attach(asyncio.get_running_loop(), prove)
    await until(lambda: engine.ready(KEY))
    backend.graphs["g"] = gone
    with pytest.raises(UnavailableError):
        await engine.infer(KEY, FEEDS, TERMS)
    backend.graphs["g"] = lambda feeds: {name: array + 1 for name, array in doubled(feeds).items()}
    await until(engine.disproved)
    assert not engine.ready(KEY)


@pytest.mark.parametrize("words", ["onnx runtime error 2", "Exceeds maximum queue size", "internal: is not ready"])
async def test_a_graph_that_fails_on_an_item_or_is_full_is_still_there(
    engine: BlsEngine, backend: Backend, words: str
) -> None:
    engine.attach(asyncio.get_running_loop(), prove)
    await until(lambda: engine.ready(KEY))

    def refuse(feeds: Arrays) -> Arrays:
        raise Refusal(words)

    backend.graphs["g"] = refuse
    with pytest.raises(VlpError):
        await engine.infer(KEY, FEEDS, TERMS)
    await settle()
    assert engine.ready(KEY)


async def test_what_stays_away_is_looked_for_less_and_less_often(
    engine: BlsEngine, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep, enough = asyncio.sleep, asyncio.Event()

    async def noted(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            enough.set()
        await sleep(0)

    backend.graphs["g"] = gone
    monkeypatch.setattr(bls_engine.asyncio, "sleep", noted)
    monkeypatch.setattr(bls_engine, "LONGEST_LOOK_S", 0.03)
    engine.attach(asyncio.get_running_loop(), prove)
    async with asyncio.timeout(10):
        await enough.wait()
    assert pauses[:5] == [0.005, 0.01, 0.02, 0.03, 0.03]


async def test_the_canaries_can_be_run_again(engine: BlsEngine, backend: Backend) -> None:
    await engine.check()
    assert engine.found_wrong() == []
    engine.attach(asyncio.get_running_loop(), prove)
    await until(lambda: engine.ready(KEY))
    asked = len(backend.asked)
    await engine.check()
    assert engine.found_wrong() == []
    assert len(backend.asked) == asked + 1
    backend.graphs["g"] = lambda feeds: {name: array + 1 for name, array in doubled(feeds).items()}
    await engine.check()
    assert engine.found_wrong() == ["canary: output 'm' is off by 1"]
    assert engine.disproved()
    assert not engine.ready(KEY)
    backend.graphs["g"] = doubled
    await until(lambda: engine.ready(KEY))
    backend.graphs["g"] = gone
    await engine.check()
    assert engine.found_wrong() == []
    await until(lambda: not engine.ready(KEY))
    assert not engine.disproved()
