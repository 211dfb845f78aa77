"""tritonclient's gRPC clients against the embedded engine, unchanged."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from oip_rig import OipServer
from triton_tensors import SAMPLE, canary, numbers, strings
from tritonclient.utils import InferenceServerException

GRAPH = "scenes-vilt-vqa-fp32"
INPUTS = ("patches", "grid", "input_ids", "text_mask")
QUESTION = b"what color is the boat?"
LIMIT_S = 30


@pytest.fixture
def client(shipped_oip: OipServer) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(shipped_oip.address) as client:
        yield client


def picture() -> Any:
    return strings(triton, "image", [SAMPLE.read_bytes()])


def test_what_is_told_of_server_and_models(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(GRAPH)
    assert client.is_model_ready(GRAPH, "1")
    assert not client.is_model_ready(GRAPH, "2")
    assert not client.is_model_ready("nothing")
    assert "binary_tensor_data" in client.get_server_metadata().extensions
    metadata = client.get_model_metadata(GRAPH)
    assert [(one.name, one.datatype, list(one.shape)) for one in metadata.inputs] == [
        ("patches", "UINT8", [-1, -1, 3072]),
        ("grid", "INT32", [-1, 2]),
        ("input_ids", "INT32", [-1, -1]),
        ("text_mask", "INT32", [-1, -1]),
    ]
    config = client.get_model_config(GRAPH).config
    assert (config.max_batch_size, config.dynamic_batching.priority_levels) == (64, 2)
    assert client.get_model_config("scenes-blip.caption").config.model_transaction_policy.decoupled
    index = {one.name: one.state for one in client.get_model_repository_index().models}
    assert index[GRAPH] == index["scenes-vilt-vqa.vqa"] == "READY"


def test_a_graph_gives_what_it_was_published_with(client: triton.InferenceServerClient) -> None:
    inputs, outputs = canary("scenes-vilt-vqa", INPUTS)
    before = client.get_inference_statistics(GRAPH).model_stats[0].inference_count
    result = client.infer(GRAPH, numbers(triton, inputs), request_id="mine", priority=2, timeout=20_000_000)
    np.testing.assert_allclose(result.as_numpy("logits"), outputs["logits"], atol=1e-3)
    assert (result.get_response().id, result.get_response().model_version) == ("mine", "1")
    after = client.get_inference_statistics(GRAPH, "1").model_stats[0]
    assert after.inference_count == before + len(inputs["grid"])
    assert after.inference_stats.compute_infer.ns > 0


def test_typed_contents_give_the_same(client: triton.InferenceServerClient) -> None:
    from tritonclient.grpc import service_pb2

    inputs, outputs = canary("scenes-vilt-vqa", INPUTS)
    request = service_pb2.ModelInferRequest(model_name=GRAPH)
    for name, array in inputs.items():
        tensor = request.inputs.add(name=name, datatype="UINT8" if name == "patches" else "INT32", shape=array.shape)
        field = tensor.contents.uint_contents if name == "patches" else tensor.contents.int_contents
        field.extend(array.reshape(-1).tolist())
    response = client._client_stub.ModelInfer(request)
    logits = np.frombuffer(response.raw_output_contents[0], "<f4").reshape(response.outputs[0].shape)
    np.testing.assert_allclose(logits, outputs["logits"], atol=1e-3)


def test_tasks_answer(client: triton.InferenceServerClient) -> None:
    texts = [QUESTION, b"how many things are there?"]
    result = client.infer("scenes-vilt-vqa.vqa", [picture(), strings(triton, "text", texts)])
    answers = [json.loads(one)["answers"][0]["answer"] for one in result.as_numpy("result")]
    assert [one.decode() for one in result.as_numpy("answer")] == answers
    assert answers[0] == "purple"
    words = [strings(triton, "text", [b"a boat", b"a tree"])]
    wanted = [triton.InferRequestedOutput("embeddings")]
    vectors = client.infer("scenes-clip.embeddings", [picture(), *words], outputs=wanted).as_numpy("embeddings")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), np.ones(3), atol=1e-5)
    labels = strings(triton, "text", [b"a boat", b"an apple"])
    assert client.infer("scenes-clip.classify", [picture(), labels]).as_numpy("answer")[0] in (b"a boat", b"an apple")
    found = client.infer("scenes-detector.regions", [picture()])
    assert len(json.loads(found.as_numpy("result")[0])["boxes"]) == len(found.as_numpy("features"))
    assert client.infer("scenes-blip.caption", [picture()]).as_numpy("answer")[0]


def test_a_caption_is_streamed_and_a_bad_request_hurts_no_other(client: triton.InferenceServerClient) -> None:
    told: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.start_stream(lambda result, error: told.put((result, error)))
    inputs, outputs = canary("scenes-vilt-vqa", INPUTS)
    pieces = strings(triton, "options", [b'{"stream": true}'])
    wrong = strings(triton, "options", [b'{"streem": true}'])
    client.async_stream_infer("scenes-blip.caption", [picture(), pieces], request_id="pieces")
    client.async_stream_infer("scenes-blip.caption", [picture(), wrong], request_id="wrong")
    client.async_stream_infer(GRAPH, numbers(triton, inputs), request_id="graph")
    written, whole = "", None
    while whole is None:
        result, error = told.get(timeout=LIMIT_S)
        assert error is None
        response = result.get_response()
        assert response.id == "pieces"
        written += result.as_numpy("answer")[0].decode()
        if response.parameters["triton_final_response"].bool_param:
            whole = json.loads(result.as_numpy("result")[0])
    assert written == whole["captions"][0]["text"]
    _, error = told.get(timeout=LIMIT_S)
    assert "invalid_argument(streem)" in str(error)
    result, error = told.get(timeout=LIMIT_S)
    assert error is None
    np.testing.assert_allclose(result.as_numpy("logits"), outputs["logits"], atol=1e-3)
    client.stop_stream()


@pytest.mark.parametrize(
    ("model", "version", "code", "words"),
    [
        ("nothing", "", "NOT_FOUND", "model_not_found: model 'nothing'"),
        (GRAPH, "7", "NOT_FOUND", "version '7'"),
        (GRAPH, "", "INVALID_ARGUMENT", "invalid_argument(patches): input 'patches': missing"),
        ("scenes-vilt-vqa.vqa", "", "INVALID_ARGUMENT", "input 'text': missing"),
    ],
)
def test_errors_have_codes_and_words(
    client: triton.InferenceServerClient, model: str, version: str, code: str, words: str
) -> None:
    inputs = [picture()] if model.endswith(".vqa") else []
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, inputs, version)
    assert caught.value.status() == f"StatusCode.{code}"
    assert words in caught.value.message()


def test_what_is_not_served_is_unimplemented(client: triton.InferenceServerClient) -> None:
    for ask in (client.get_log_settings, client.get_system_shared_memory_status, client.get_trace_settings):
        with pytest.raises(InferenceServerException) as caught:
            ask()
        assert caught.value.status() == "StatusCode.UNIMPLEMENTED"


@pytest.fixture
async def async_client(dummy_oip: OipServer) -> AsyncIterator[triton_aio.InferenceServerClient]:
    async with triton_aio.InferenceServerClient(dummy_oip.address) as client:
        yield client


async def test_the_asyncio_client_asks_and_streams(async_client: triton_aio.InferenceServerClient) -> None:
    def asked(text: bytes) -> dict[str, Any]:
        return {"model_name": "dummy.vqa", "inputs": [picture(), strings(triton, "text", [text])], "request_id": "r"}

    results = await asyncio.gather(*(async_client.infer(**asked(b"what %d" % number)) for number in range(8)))
    assert all(result.as_numpy("answer").shape == (1,) for result in results)

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for number in range(40):
            yield {**asked(b"what %d" % number), "request_id": str(number)}

    ids = []
    async for result, error in async_client.stream_infer(requests()):
        assert error is None
        ids.append(result.get_response().id)
        if len(ids) == 40:
            break
    assert ids == [str(number) for number in range(40)]


async def test_who_goes_away_leaves_nothing_behind(
    async_client: triton_aio.InferenceServerClient, dummy_oip: OipServer
) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for _ in range(64):
            yield {
                "model_name": "dummy-captioner.caption",
                "inputs": [
                    picture(),
                    strings(triton, "options", [b'{"stream": true, "min_tokens": 400, "max_tokens": 500}']),
                ],
            }

    answers = async_client.stream_infer(requests())
    async for result, error in answers:
        assert error is None, error
        assert result.as_numpy("answer") is not None
        break
    answers.cancel()
    drained = asyncio.run_coroutine_threadsafe(_emptied(dummy_oip), dummy_oip.loop)
    assert await asyncio.wrap_future(drained)


async def _emptied(server: OipServer) -> bool:
    """Whether nobody is inside any more, within a while."""
    async with asyncio.timeout(LIMIT_S):
        while server.service._admission.requests:
            await asyncio.sleep(0.01)
    return True


async def test_a_deadline_of_the_call_is_the_request_s(async_client: triton_aio.InferenceServerClient) -> None:
    stalled = {"model_name": "dummy.vqa", "inputs": [picture(), strings(triton, "text", [b"what?"])]}
    with pytest.raises(InferenceServerException) as caught:
        await async_client.infer(**stalled, client_timeout=1e-6)
    assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    with pytest.raises(InferenceServerException) as caught:
        await async_client.infer(**stalled, timeout=1)
    assert caught.value.status() == "StatusCode.DEADLINE_EXCEEDED"
