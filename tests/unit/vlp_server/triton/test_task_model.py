"""A task in the Python backend: its service asks the graphs of the same Triton, which real sessions play here."""

import contextlib
import json
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import vlp_server.triton.bls_engine as bls_engine
import vlp_server.triton.task_model as task_model
from service_rig import Rig, picture, tiny_model
from tiny_repository import publish
from triton_backend import Arrays, Backend, InferenceResponse, Refusal, Request, model_arguments
from vlp_server.core.settings import AdmissionSettings, CoreSettings
from vlp_server.engines.task_wire import parse_result
from vlp_server.triton.task_model import TaskModel
from vlp_spec.errors import ErrorKind, StartupError
from vlp_spec.found_deployment import find_deployment
from vlp_spec.tasks import CaptionQuery, Lane, Task, VqaQuery
from vlp_zoo import zoo_path

RED = picture("red")
ZOO = zoo_path() / "repository"


def graphs_of(root: Path, deployment: str) -> dict[str, Any]:
    """The graphs of a deployment, as Triton would run them."""
    found = find_deployment(root, deployment)

    def graph(ref: Any) -> Any:
        session = onnxruntime.InferenceSession(str(found.graph_dir(ref) / "model.onnx"))

        def run(feeds: Arrays) -> Arrays:
            names = [spec.name for spec in ref.outputs]
            ranks = {spec.name: len(spec.shape) for spec in ref.inputs}
            sized = {name: array.reshape(array.shape[: ranks[name]]) for name, array in feeds.items()}
            outputs = dict(zip(names, session.run(names, sized), strict=True))
            if not all(np.isfinite(array).all() for array in outputs.values()):
                raise Refusal("inference_failed: the model failed on this item; the same input will fail again")
            return outputs

        return run

    return {ref.name: graph(ref) for ref in found.deployment.graphs}


@contextlib.contextmanager
def started(root: Path, deployment: str, task: str, version: int = 1, **graphs: Any) -> Iterator[TaskModel]:
    model = TaskModel(Backend(**(graphs or graphs_of(root, deployment))))
    model.initialize(
        model_arguments(root, f"{deployment}.{task}", version, deployment=deployment, task=task, threads="1")
    )
    try:
        yield model
    finally:
        model.finalize()


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[TaskModel]:
    publish(tmp_path)
    with started(tmp_path, "tiny", "vqa") as model:
        yield model


def request(
    image: bytes = RED,
    *texts: str | bytes,
    options: bytes | None = None,
    timeout_us: int = 0,
    parameters: dict[str, object] | None = None,
) -> Request:
    given = {"image": [image], "text": [text.encode() if isinstance(text, str) else text for text in texts]}
    if options is not None:
        given["options"] = [options]
    inputs = {name: np.array(values, dtype=np.object_) for name, values in given.items() if values}
    return Request(inputs, timeout_us, parameters)


def answered(model: TaskModel, *requests: Request) -> list[InferenceResponse]:
    """The last response to each."""
    assert model.execute(requests) is None
    return [one.sender.last() for one in requests]


async def test_answers_are_those_of_the_embedded_engine(tiny: TaskModel, tmp_path: Path) -> None:
    texts = ["what colour is it", "how many"]
    (response,) = answered(tiny, request(RED, *texts, options=b'{"top_k": 3}'))
    outputs = response.arrays()
    async with Rig(tiny_model(tmp_path)) as rig:
        expected = (await rig.service.vqa(RED, [VqaQuery(text, 3) for text in texts])).results
    results = [parse_result(Task.VQA, one) for one in outputs["result"]]
    for got, wanted in zip(results, expected, strict=True):
        assert [one.answer for one in got.answers] == [one.answer for one in wanted.answers]
        scores = [[one.score for one in result.answers] for result in (got, wanted)]
        np.testing.assert_allclose(*scores, atol=1e-5)
    assert [one.decode() for one in outputs["answer"]] == [result.answers[0].answer for result in expected]
    assert outputs["answer"].dtype == outputs["result"].dtype == np.object_


@pytest.mark.parametrize(
    ("asked", "code", "message"),
    [
        (request(b"no picture", "what"), "INVALID_ARG", "invalid_image: "),
        (request(RED, " "), "INVALID_ARG", "invalid_argument(question): "),
        (request(RED, "what", options=b'{"colour": 1}'), "INVALID_ARG", "invalid_argument(colour): "),
        (request(RED, "what", options=b'{"a b": 1}'), "INVALID_ARG", "invalid_argument: a b: "),
        (request(RED, b"\xff\xfe"), "INVALID_ARG", "invalid_argument(text): text: not UTF-8"),
        (request(RED), "INVALID_ARG", "invalid_argument(text): "),
        (Request({"text": np.array([b"what"], np.object_)}), "INVALID_ARG", "invalid_argument(image): "),
        (request(RED, "what " * 2000), "INVALID_ARG", "too_large: "),
        (request(RED, "is broken"), "INTERNAL", "inference_failed: "),
        (request(RED, "what", timeout_us=1), "UNAVAILABLE", "deadline_exceeded: "),
        (request(RED, "what", parameters={"timeout_ms": "5"}), "INVALID_ARG", "invalid_argument(timeout_ms): "),
        (request(RED, "what", parameters={"lane": "express"}), "INVALID_ARG", "invalid_argument(lane): "),
        (request(RED, *["what"] * 65), "INVALID_ARG", "too_large: text: got 65, at most 64"),
    ],
    ids=lambda value: value if isinstance(value, str) else "request",
)
def test_a_fault_is_one_requests_own(tiny: TaskModel, asked: Request, code: str, message: str) -> None:
    before, bad, after = answered(
        tiny,
        request(RED, "what"),
        Request(_inputs(asked), asked.timeout(), json.loads(asked.parameters())),
        request(RED, "is"),
    )
    got_code, got_message = bad.fault()
    assert (got_code, got_message[: len(message)]) == (code, message)
    assert len(before.arrays()["answer"]) == len(after.arrays()["answer"]) == 1


def _inputs(asked: Request) -> dict[str, np.ndarray]:
    return {name: tensor.as_numpy() for name, tensor in asked.inputs().items()}


@pytest.mark.parametrize(
    ("said", "code", "message"),
    [
        ("Exceeds maximum queue size", "UNAVAILABLE", "overloaded: "),
        ("Request timeout expired", "UNAVAILABLE", "deadline_exceeded: "),
        ("Model 'tiny-fp32' is not ready.", "UNAVAILABLE", "unavailable: "),
        ("onnx runtime error 2", "INTERNAL", "inference_failed: "),
        ("internal: internal error", "INTERNAL", "internal: internal error; the server's log has the details"),
    ],
)
def test_what_its_graphs_say_comes_through(tiny: TaskModel, said: str, code: str, message: str) -> None:
    answered(tiny, request(RED, "what"))

    def refuse(feeds: Arrays) -> Arrays:
        raise Refusal(said)

    tiny._backend.graphs["tiny-fp32"] = refuse
    (response,) = answered(tiny, request(RED, "is"))
    got_code, got_message = response.fault()
    assert (got_code, got_message[: len(message)]) == (code, message)


def test_nothing_is_asked_of_a_triton_that_starts(tmp_path: Path) -> None:
    publish(tmp_path)
    with started(tmp_path, "tiny", "vqa") as model:
        assert model._backend.asked == []
        answered(model, request(RED, "what"))
        assert len(model._backend.asked) == 2  # the canary, and the question


def test_graphs_that_come_after_the_task_are_waited_for(tmp_path: Path) -> None:
    publish(tmp_path)
    graphs = graphs_of(tmp_path, "tiny")
    with started(tmp_path, "tiny", "vqa", other=lambda feeds: feeds) as model:
        one = request(RED, "what")
        model.execute([one])
        assert not one.sender.finished.is_set()
        model._backend.graphs.update(graphs)
        assert len(one.sender.last().arrays()["answer"]) == 1


def test_graphs_that_do_not_come_are_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_model, "_GRAPHS_WAIT_S", 0.01)
    publish(tmp_path)
    with started(tmp_path, "tiny", "vqa", other=lambda feeds: feeds) as model:
        (response,) = answered(model, request(RED, "what"))
        code, message = response.fault()
        assert (code, message.partition(":")[0]) == ("UNAVAILABLE", "unavailable")


def test_who_waits_for_graphs_does_so_within_their_own_time(tmp_path: Path) -> None:
    publish(tmp_path)
    with started(tmp_path, "tiny", "vqa", other=lambda feeds: feeds) as model:
        (response,) = answered(model, request(RED, "what", parameters={"timeout_ms": 1}))
        code, message = response.fault()
        assert (code, message.partition(":")[0]) == ("UNAVAILABLE", "deadline_exceeded")


def test_no_more_wait_for_graphs_than_may_be_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_model, "CoreSettings", partial(CoreSettings, admission=AdmissionSettings(max_requests=2)))
    publish(tmp_path)
    graphs = graphs_of(tmp_path, "tiny")
    with started(tmp_path, "tiny", "vqa", other=lambda feeds: feeds) as model:
        waiting, over = [request(RED, "what"), request(RED, "is")], request(RED, "how many")
        model.execute([*waiting, over])
        code, message = over.sender.last().fault()
        assert (code, message.partition(":")[0]) == ("UNAVAILABLE", "overloaded")
        assert not any(one.sender.finished.is_set() for one in waiting)
        model._backend.graphs.update(graphs)
        assert all(len(one.sender.last().arrays()["answer"]) == 1 for one in waiting)


def test_who_asks_when_the_graphs_have_gone_is_refused_until_they_are_back(
    tiny: TaskModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bls_engine, "LOOK_S", 0.005)
    answered(tiny, request(RED, "what"))
    graph, proved = tiny._backend.graphs.pop("tiny-fp32"), threading.Event()
    for text in ("is", "how many"):
        (response,) = answered(tiny, request(RED, text))
        code, message = response.fault()
        assert (code, message.partition(":")[0]) == ("UNAVAILABLE", "unavailable")
    tiny._backend.graphs["tiny-fp32"] = lambda feeds: (graph(feeds), proved.set())[0]
    assert proved.wait(30)
    response = _sooner_or_later(tiny)
    assert len(response.arrays()["answer"]) == 1


def _sooner_or_later(model: TaskModel) -> InferenceResponse:
    """The first answer that is none of a model that is not proved yet."""
    for _ in range(10_000):
        (response,) = answered(model, request(RED, "it"))
        if not response.has_error():
            return response
        assert response.fault()[1].startswith("unavailable: ")
    raise AssertionError("its graphs are back, and it does not see them")


def test_the_same_call_is_answered_again_without_a_graph_and_its_fault_stays_a_fault(tiny: TaskModel) -> None:
    (first,) = answered(tiny, request(RED, "what"))
    asked = len(tiny._backend.asked)
    (again,) = answered(tiny, request(RED, "what"))
    assert list(again.arrays()["result"]) == list(first.arrays()["result"])
    assert len(tiny._backend.asked) == asked
    faults = [answered(tiny, request(b"no picture", "what"))[0].fault() for _ in range(2)]
    assert faults[0] == faults[1]
    assert faults[0][1].startswith("invalid_image: ")


async def test_a_lane_is_the_services(tiny: TaskModel, monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = []
    vqa = tiny._service.vqa

    async def noted(*given: Any, lane: Lane, **terms: Any) -> Any:
        lanes.append(lane)
        return await vqa(*given, lane=lane, **terms)

    monkeypatch.setattr(tiny._service, "vqa", noted)
    answered(tiny, request(RED, "what", parameters={"lane": "bulk"}))
    answered(tiny, request(RED, "is"))
    assert lanes == [Lane.BULK, Lane.INTERACTIVE]


def test_graphs_that_are_wrong_answer_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_model, "_GRAPHS_WAIT_S", 0.01)
    monkeypatch.setattr(bls_engine, "LOOK_S", 0.005)
    publish(tmp_path)
    publish(tmp_path / "other", scale=-3.0)
    wrong, asked = graphs_of(tmp_path / "other", "tiny")["tiny-fp32"], threading.Semaphore(0)
    with started(tmp_path, "tiny", "vqa", **{"tiny-fp32": lambda feeds: (asked.release(), wrong(feeds))[1]}) as model:
        model.execute([request(RED, "what")])
        for _ in range(2):  # by the second canary the first has its verdict
            assert asked.acquire(timeout=30)
        (response,) = answered(model, request(RED, "what"))
        code, message = response.fault()
        assert code == "UNAVAILABLE"
        assert "off by" in message


class Held:
    """A graph whose calls wait until they are let go."""

    def __init__(self, run: Any) -> None:
        self._run, self.entered, self.go = run, threading.Event(), threading.Event()

    def __call__(self, feeds: Arrays) -> Arrays:
        self.entered.set()
        assert self.go.wait(30)
        return self._run(feeds)  # type: ignore[no-any-return]


def test_a_request_that_is_cancelled_is_given_up_and_hurts_no_other(tiny: TaskModel) -> None:
    answered(tiny, request(RED, "what"))
    graphs = tiny._backend.graphs
    graphs["tiny-fp32"] = held = Held(graphs["tiny-fp32"])
    leaving, staying = request(RED, "is"), request(picture("green"), "how many")
    tiny.execute([leaving, staying])
    assert held.entered.wait(30)
    leaving.cancelled = True
    assert leaving.sender.last().fault() == ("CANCELLED", "cancelled: the caller has gone away")
    assert not staying.sender.finished.is_set()
    held.go.set()
    assert len(staying.sender.last().arrays()["answer"]) == 1


def test_a_fault_that_nobody_foresaw_says_nothing_of_itself(tiny: TaskModel, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(task_model, "do_task", fail)
    (response,) = answered(tiny, request(RED, "what"))
    assert response.fault() == ("INTERNAL", "internal: internal error; the server's log has the details")


def test_a_request_that_cannot_be_read_fails_alone(tiny: TaskModel, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = request(RED, "what")
    monkeypatch.setattr(broken, "parameters", lambda: 7)
    bad, good = answered(tiny, broken, request(RED, "is"))
    assert bad.fault() == ("INTERNAL", "internal: internal error; the server's log has the details")
    assert len(good.arrays()["answer"]) == 1


def test_what_is_under_way_ends_before_it_stops(tmp_path: Path) -> None:
    publish(tmp_path)
    with started(tmp_path, "tiny", "vqa") as model:
        answered(model, request(RED, "what"))
        graphs = model._backend.graphs
        graphs["tiny-fp32"] = held = Held(graphs["tiny-fp32"])
        one = request(RED, "is")
        model.execute([one])
        assert held.entered.wait(30)
        threading.Timer(0.05, held.go.set).start()
    assert len(one.sender.last().arrays()["answer"]) == 1
    assert not model._thread.is_alive()


def test_the_version_that_triton_loads_answers(tmp_path: Path) -> None:
    publish(tmp_path)
    publish(tmp_path, version=2, scale=-3.0)
    scores = []
    for version in (1, 2):
        graphs = graphs_of(tmp_path, f"tiny@{version}")
        with started(tmp_path, "tiny", "vqa", version, **graphs) as model:
            (response,) = answered(model, request(RED, "what"))
            scores.append([one.score for one in parse_result(Task.VQA, response.arrays()["result"][0]).answers])
    assert scores[0] != scores[1]


def test_a_deployment_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    publish(tmp_path)
    (tmp_path / "deployments" / "tiny" / "1" / "labels.json").write_text('["other"]')
    model = TaskModel(Backend())
    with pytest.raises(StartupError, match="changed since it was published"):
        model.initialize(model_arguments(tmp_path, "tiny.vqa", deployment="tiny", task="vqa"))
    assert not model._thread.is_alive()
    with pytest.raises(StartupError, match="model 'other'"):
        TaskModel(Backend()).initialize(model_arguments(tmp_path, "x.vqa", deployment="other", task="vqa"))


def test_a_model_that_reads_regions_brings_what_finds_them() -> None:
    name = "scenes-uniter-entailment"
    graphs = {**graphs_of(ZOO, name), **graphs_of(ZOO, "scenes-detector")}
    with started(ZOO, name, "entailment", **graphs) as model:
        (response,) = answered(model, request(picture("red", (64, 48)), "there is a cat"))
        assert response.arrays()["answer"][0].decode() in {"entailment", "neutral", "contradiction"}


async def test_a_caption_comes_in_pieces_and_its_whole_is_the_end() -> None:
    image = picture("blue", (64, 48))
    with started(ZOO, "scenes-blip", "caption") as model:
        streamed, whole = request(image, options=b'{"stream": true}'), request(image)
        refused = request(image, options=b'{"num_beams": 99}')
        answered(model, streamed, whole, refused)
        *pieces, last = [one.arrays() for one in streamed.sender.sent]
        assert len(pieces) > 1
        assert all("result" not in piece or not len(piece["result"]) for piece in pieces)
        (alone,) = [one.arrays() for one in whole.sender.sent]
        assert list(alone["result"]) == list(last["result"])
        assert b"".join(one["answer"][0] for one in (*pieces, last)) == alone["answer"][0]
        assert refused.sender.last().fault()[1].startswith("invalid_argument(num_beams): ")
    settings = tiny_model(ZOO, "scenes-blip")
    async with Rig(settings) as rig:
        (expected,) = (await rig.service.caption(image, CaptionQuery())).results
    assert alone["answer"][0].decode() == expected.captions[0].text


def test_every_kind_has_a_code_of_tritons() -> None:
    backend = Backend()
    codes = {kind: task_model._code(backend.TritonError, kind) for kind in ErrorKind}
    assert {kind for kind, code in codes.items() if code == "NOT_FOUND"} == {"model_not_found", "no_extractor"}
    assert {kind for kind, code in codes.items() if code == "UNAVAILABLE"} == {
        "overloaded",
        "rate_limited",
        "unavailable",
        "deadline_exceeded",
    }
    assert {kind for kind, code in codes.items() if code == "INVALID_ARG"} == {
        "invalid_argument",
        "invalid_image",
        "too_large",
        "unsupported_media_type",
        "task_not_supported",
    }
    assert codes[ErrorKind.CANCELLED] == "CANCELLED"
    assert codes[ErrorKind.INFERENCE_FAILED] == codes[ErrorKind.INTERNAL] == "INTERNAL"
