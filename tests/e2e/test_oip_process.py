"""tritonclient's HTTP clients against a real server with the shipped models, unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from server_process import ServerProcess
from triton_tensors import SAMPLE, canary, numbers, strings
from tritonclient.utils import InferenceServerException

GRAPH = "scenes-vilt-vqa-fp32"
INPUTS = ("patches", "grid", "input_ids", "text_mask")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("oip"), VLPSERVE_ENGINE_THREADS="1") as server:
        yield server


@pytest.fixture
def client(server: ServerProcess) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        yield client


def test_what_is_told_of_server_and_models(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(GRAPH, "1")
    assert not client.is_model_ready("nothing")
    assert client.get_server_metadata()["name"] == "vlpserve"
    assert client.get_model_metadata(GRAPH)["inputs"][0] == {
        "name": "patches",
        "datatype": "UINT8",
        "shape": [-1, -1, 3072],
    }
    assert client.get_model_config(GRAPH, "1")["max_batch_size"] == 64
    index = {one["name"]: one["state"] for one in client.get_model_repository_index()}
    assert index[GRAPH] == index["scenes-vilt-vqa.vqa"] == "READY"
    with pytest.raises(InferenceServerException, match="model_not_found"):
        client.get_model_metadata("nothing")


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_a_graph_gives_what_it_was_published_with(
    client: triton.InferenceServerClient, binary: bool, packed: str | None
) -> None:
    inputs, outputs = canary("scenes-vilt-vqa", INPUTS)
    before = client.get_inference_statistics(GRAPH)["model_stats"][0]["inference_count"]
    result = client.infer(
        GRAPH,
        numbers(triton, inputs, binary_data=binary),
        outputs=[triton.InferRequestedOutput("logits", binary_data=binary)],
        request_id="mine",
        priority=1,
        timeout=20_000_000,
        request_compression_algorithm=packed,
        response_compression_algorithm=packed,
    )
    np.testing.assert_allclose(result.as_numpy("logits"), outputs["logits"], atol=1e-3)
    assert result.get_response()["id"] == "mine"
    after = client.get_inference_statistics(GRAPH)["model_stats"][0]["inference_count"]
    assert after == before + len(inputs["grid"])


def test_tasks_answer(client: triton.InferenceServerClient) -> None:
    image = strings(triton, "image", [SAMPLE.read_bytes()])
    result = client.infer("scenes-vilt-vqa.vqa", [image, strings(triton, "text", [b"what color is the boat?"])])
    assert result.as_numpy("answer")[0] == b"purple"
    assert json.loads(result.as_numpy("result")[0])["answers"][0]["answer"] == "purple"
    assert client.infer("scenes-blip.caption", [image]).as_numpy("answer").shape == (1,)
    statement = strings(triton, "text", [b"there is a boat"])
    pair = strings(triton, "image", [SAMPLE.read_bytes()] * 2)
    judged = client.infer("scenes-uniter-reasoning.reasoning", [pair, statement])
    assert judged.as_numpy("answer")[0] in (b"true", b"false")


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [("grid", [1, 3], "shape"), ("nothing", [1, 2], "not among"), ("grid", [2, 2], "axis 'batch'")],
)
def test_errors_say_what_is_wrong(
    client: triton.InferenceServerClient, name: str, shape: list[int], words: str
) -> None:
    inputs, _ = canary("scenes-vilt-vqa", INPUTS)
    rows = {one: array[:1] for one, array in inputs.items() if one != "grid"}
    sent = numbers(triton, {**rows, name: np.ones(shape, np.int32)})
    with pytest.raises(InferenceServerException, match=words) as caught:
        client.infer(GRAPH, sent)
    assert caught.value.status() == "400"


async def test_the_asyncio_client(server: ServerProcess) -> None:
    async with triton_aio.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert await client.is_server_ready()
        inputs, outputs = canary("scenes-vilt-vqa", INPUTS)
        result: Any = await client.infer(GRAPH, numbers(triton, inputs))
    np.testing.assert_allclose(result.as_numpy("logits"), outputs["logits"], atol=1e-3)
