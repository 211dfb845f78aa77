"""What Triton's errors mean, and what is on the wire between one server and the engine."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from service_rig import until
from triton_standin import Call, Fault, TritonStandIn
from tritonclient.utils import InferenceServerException
from vlp_server.engines.base import CallTerms
from vlp_server.engines.triton_server import AwayError, LateError, LostCopyError, TritonServer, meaning_of, nobody
from vlp_spec.deployment import GraphRef
from vlp_spec.errors import (
    DeadlineError,
    ErrorKind,
    InferenceError,
    InvalidImageError,
    OverloadedError,
    UnavailableError,
    VlpError,
)
from vlp_spec.tasks import Lane
from vlp_spec.tensors import TensorSpec

GRAPH = GraphRef(
    role="fusion",
    name="g",
    version=3,
    backend="onnxruntime",
    files={},
    inputs=(TensorSpec("x", "int32", ("batch", 2)), TensorSpec("n", "int32", ("batch",))),
    outputs=(TensorSpec("y", "float32", ("batch", 2)), TensorSpec("m", "float32", ("batch",))),
)
FEEDS = {"x": np.array([[3, 4]], np.int32), "n": np.array([7], np.int32)}
TERMS = CallTerms(timeout_s=10.0)


def doubled(call: Call) -> dict[str, np.ndarray]:
    """As the graph: y = 2x, m = 2n, which travels as rows of one."""
    return {"y": call.inputs["x"] * np.float32(2), "m": call.inputs["n"] * np.float32(2)}


def said(status: str | None, message: str) -> VlpError | AwayError:
    error = InferenceServerException(message, None if status is None else f"StatusCode.{status}")
    return meaning_of(error, "host:8001")


@pytest.mark.parametrize(
    ("status", "message", "meaning"),
    [
        # Of the way there, and of a server that is not what it should be.
        ("UNAVAILABLE", "failed to connect to all addresses; last error: UNKNOWN: connection refused", AwayError),
        ("UNAVAILABLE", "Socket closed", AwayError),
        ("UNAVAILABLE", "Server is stopping, scheduler for model has stopped accepting new requests", AwayError),
        ("CANCELLED", "CANCELLED", AwayError),
        ("NOT_FOUND", "Request for unknown model: 'g' is not found", AwayError),
        ("UNAVAILABLE", "Request for unknown model: 'g' version 3 is not at ready state", AwayError),
        ("INTERNAL", "in ensemble: Request for unknown model: 'g' is not found", AwayError),
        ("INVALID_ARGUMENT", "Request for unknown model: 'g' has no available versions", AwayError),
        (None, "Request for unknown model: 'g' is not found", AwayError),
        # Of its queues: the same server, later.
        ("UNAVAILABLE", "[request id: <id_unknown>] Exceeds maximum queue size", OverloadedError),
        (None, "Exceeds maximum queue size", OverloadedError),
        ("UNAVAILABLE", "[request id: <id_unknown>] Request timeout expired", DeadlineError),
        (None, "Request timeout expired", DeadlineError),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", DeadlineError),
        # Of the graph, or of what was sent.
        ("INTERNAL", "onnx runtime error 2: Got invalid dimensions", InferenceError),
        ("INVALID_ARGUMENT", "[request id: 1] unexpected shape for input 'x'", InferenceError),
        ("RESOURCE_EXHAUSTED", "Received message larger than max", InferenceError),
        ("UNKNOWN", "", InferenceError),
        ("UNIMPLEMENTED", "Method not found!", InferenceError),
        (None, "", InferenceError),
        # Of our own models: theirs counts, whatever the status.
        ("UNAVAILABLE", "overloaded: the queue of this model is full", OverloadedError),
        ("CANCELLED", "invalid_image: no picture", InvalidImageError),
        (None, "deadline_exceeded: too late", DeadlineError),
        ("INTERNAL", "inference_failed: the model failed on this item", InferenceError),
        ("UNAVAILABLE", "unavailable: graph g is not loaded", UnavailableError),
        # Of one copy of a model.
        ("INTERNAL", "Failed to process the request(s): Stub process 'g_0_1' is not healthy.", LostCopyError),
    ],
)
def test_what_an_error_means(status: str | None, message: str, meaning: type[Exception]) -> None:
    assert type(said(status, message)) is meaning


def test_a_caller_is_told_no_address_and_the_log_is() -> None:
    for status, message in (("INTERNAL", "boom"), ("UNAVAILABLE", "Exceeds maximum queue size")):
        error = said(status, message)
        assert isinstance(error, VlpError)
        assert "host:8001" not in error.message
        assert message not in error.message
        assert error.detail == f"Triton at host:8001: {status} {message}"
    unreachable = nobody(["Triton at a:1: gone", "Triton at b:2: gone"])
    assert "a:1" not in unreachable.message
    assert unreachable.detail == "Triton at a:1: gone; Triton at b:2: gone"
    assert unreachable.retry_after_s > 0


def test_a_full_queue_says_when_to_come_back() -> None:
    error = said("UNAVAILABLE", "Exceeds maximum queue size")
    assert isinstance(error, OverloadedError)
    assert error.retry_after_s > 0
    assert error.kind is ErrorKind.OVERLOADED


@pytest.fixture
async def there() -> AsyncIterator[TritonStandIn]:
    async with TritonStandIn(doubled, g=[1, 3]) as started:
        yield started


@pytest.fixture
async def server(there: TritonStandIn) -> AsyncIterator[TritonServer]:
    made = TritonServer(there.url)
    yield made
    await made.client.close()


@pytest.mark.parametrize(("lane", "priority"), [(Lane.INTERACTIVE, 1), (Lane.BULK, 2)])
async def test_a_call_carries_all_that_triton_must_know(
    there: TritonStandIn, server: TritonServer, lane: Lane, priority: int
) -> None:
    outputs = await server.infer(GRAPH, FEEDS, CallTerms(timeout_s=7.5, lane=lane))
    np.testing.assert_array_equal(outputs["y"], np.array([[6, 8]], np.float32))
    np.testing.assert_array_equal(outputs["m"], np.array([14], np.float32))
    (call,) = there.calls
    assert (call.model, call.version, call.outputs) == ("g", "3", ["y", "m"])
    assert (call.priority, call.timeout_us) == (priority, 7_500_000)
    assert call.seconds_left == pytest.approx(7.5, abs=1)
    assert {name: array.shape for name, array in call.inputs.items()} == {"x": (1, 2), "n": (1, 1)}


async def test_a_time_that_is_as_good_as_over_is_not_sent_as_no_limit(
    server: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[str, object] = {}

    async def infer(*_: object, **arguments: object) -> object:
        sent.update(arguments)
        raise InferenceServerException("Deadline Exceeded", "StatusCode.DEADLINE_EXCEEDED")

    monkeypatch.setattr(server.client, "infer", infer)
    with pytest.raises(DeadlineError):
        await server.infer(GRAPH, FEEDS, CallTerms(timeout_s=1e-9))
    assert sent["timeout"] == 1  # microseconds; 0 would be none


async def test_calls_under_way_are_counted_until_they_end_however(there: TritonStandIn, server: TritonServer) -> None:
    go = asyncio.Event()

    async def held(call: Call) -> dict[str, np.ndarray]:
        await go.wait()
        if call.timeout_us < 9_000_000:
            raise Fault("INTERNAL", "boom")
        return doubled(call)

    there.answer = held
    sound = asyncio.create_task(server.infer(GRAPH, FEEDS, TERMS))
    failing = asyncio.create_task(server.infer(GRAPH, FEEDS, CallTerms(timeout_s=8.0)))
    leaving = asyncio.create_task(server.infer(GRAPH, FEEDS, TERMS))
    await until(lambda: len(there.calls) == 3)
    assert server.in_flight == 3
    leaving.cancel()
    await asyncio.wait({leaving})
    assert server.in_flight == 2
    go.set()
    await sound
    with pytest.raises(InferenceError):
        await failing
    assert leaving.cancelled()
    assert server.in_flight == 0


async def test_whoever_leaves_ends_the_call_there(there: TritonStandIn, server: TritonServer) -> None:
    ended = asyncio.Event()

    async def for_ever(call: Call) -> dict[str, np.ndarray]:
        try:
            return await asyncio.Future()
        finally:
            ended.set()

    there.answer = for_ever
    call = asyncio.create_task(server.infer(GRAPH, FEEDS, TERMS))
    await until(lambda: len(there.calls) == 1)
    call.cancel()
    await asyncio.wait_for(ended.wait(), 5)
    assert server.in_flight == 0


async def test_what_it_has_and_whether_it_lives(there: TritonStandIn, server: TritonServer) -> None:
    assert await server.is_live()
    assert [await server.has("g", version) for version in (1, 2, 3)] == [True, False, True]
    assert not await server.has("h", 1)
    there.live = False
    assert not await server.is_live()
    await there.stop()
    for look in (server.is_live(), server.has("g", 1)):
        with pytest.raises(AwayError):
            await look
    with pytest.raises(AwayError):
        await server.infer(GRAPH, FEEDS, TERMS)


def _raise(error: Exception) -> dict[str, np.ndarray]:
    raise error


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_callers_who_give_up_one_after_the_other_do_not_hide_a_silence(there: TritonStandIn) -> None:
    clock = Clock()
    server = TritonServer(there.url, clock=clock)

    async def for_ever(call: Call) -> dict[str, np.ndarray]:
        return await asyncio.Future()

    there.answer = for_ever
    for number in range(1, 4):
        call = asyncio.create_task(server.infer(GRAPH, FEEDS, TERMS))
        await until(lambda number=number: len(there.calls) == number)
        clock.now += 2.0
        call.cancel()  # as the service does at a request's deadline
        await asyncio.wait({call})
        clock.now += 50.0  # nobody asks: no silence
    assert server.graphs["g"].seconds == pytest.approx(6.0)
    assert server.longest(server.tasks) == 0.0
    there.answer = doubled
    await server.infer(GRAPH, FEEDS, TERMS)
    assert server.graphs["g"].seconds == 0.0
    await server.client.close()


@pytest.mark.parametrize(
    ("status", "message", "heard"),
    [
        ("INTERNAL", "boom", True),
        ("INVALID_ARGUMENT", "invalid_image: no picture", True),
        ("UNAVAILABLE", "Exceeds maximum queue size", False),
        ("UNAVAILABLE", "Request timeout expired", False),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", False),
    ],
)
async def test_an_error_of_the_servers_is_an_answer_too(
    there: TritonStandIn, status: str, message: str, heard: bool
) -> None:
    clock = Clock()
    server = TritonServer(there.url, clock=clock)

    def late(call: Call) -> dict[str, np.ndarray]:
        clock.now += 3.0
        raise Fault(status, message)

    there.answer = late
    with pytest.raises(VlpError):
        await server.infer(GRAPH, FEEDS, TERMS)
    assert server.graphs["g"].seconds == (0.0 if heard else 3.0)
    await server.client.close()


async def test_a_look_that_is_late_is_told_from_one_that_finds_nobody(
    server: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*_: object, **__: object) -> object:
        raise InferenceServerException("Deadline Exceeded", "StatusCode.DEADLINE_EXCEEDED")

    monkeypatch.setattr(server.client, "is_server_live", late)
    with pytest.raises(LateError):
        await server.is_live()
    assert [server.late_again() for _ in range(3)] == [False, False, True]
    server.in_time()
    assert not server.late_again()


async def test_one_that_fails_again_at_once_is_left_alone_for_longer_each_time() -> None:
    clock = Clock()
    server = TritonServer("127.0.0.1:9", clock=clock)
    pauses = []
    for _ in range(8):
        server.proved()
        server.down("gone")
        began = clock.now
        while server.is_resting:
            clock.now += 0.5
        pauses.append(clock.now - began)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    server.proved()
    clock.now += 60.0  # it has been steady
    server.down("gone")
    assert not server.is_resting
    await server.client.close()


async def test_why_it_is_not_asked_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    server = TritonServer("127.0.0.1:9")
    server.proved()
    server.down("off by 3", disproved=True)
    assert server.disproved
    for _ in range(5):
        server.down("gone", "Triton at 127.0.0.1:9: UNAVAILABLE refused")
    assert (server.up, server.disproved, server.reason) == (False, False, "gone")
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "127.0.0.1:9" in caplog.text
    await server.client.close()
