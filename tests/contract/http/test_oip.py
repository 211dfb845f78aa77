"""The Open Inference Protocol through the HTTP door: what plain HTTP clients send, and what hostile ones do."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pytest
from dummy_door import open_dummies
from vlp_server.config import HttpConfig, ServerConfig
from vlp_server.engines.dummy import FAIL_TOKEN

INFER = "/v2/models/dummy-fusion/infer"
HEADER = "Inference-Header-Content-Length"
LIMIT = 64 * 1024
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)


def tensor(name: str, datatype: str, shape: Any, data: Any = None, **more: Any) -> dict[str, Any]:
    document = {"name": name, "datatype": datatype, "shape": shape, **more}
    return document if data is None else {**document, "data": data}


def graph_inputs(**changed: dict[str, Any]) -> list[dict[str, Any]]:
    """One row of the dummy's graph; a changed input's fields take the place of its own."""
    inputs = [
        tensor("patches", "UINT8", [1, 1, 3], [1, 2, 3]),
        tensor("grid", "INT32", [1, 2], [1, 1]),
        tensor("input_ids", "INT32", [1, 2], [[4, 5]]),
        tensor("text_mask", "INT32", [1, 2], [[1, 1]]),
    ]
    return [{**one, **changed.get(one["name"], {})} for one in inputs]


def binary(document: dict[str, Any], tail: bytes = b"") -> dict[str, Any]:
    text = json.dumps(document).encode()
    return {"content": text + tail, "headers": {HEADER: str(len(text))}}


@pytest.fixture
async def door() -> AsyncIterator[httpx.AsyncClient]:
    config = ServerConfig(http=HttpConfig(body_limit_bytes=LIMIT))
    names = ("dummy", "dummy-encoder", "dummy-captioner")
    async with open_dummies(*names, config=config) as client:
        yield client
        # Whatever was sent: it answers still.
        assert (await client.post(INFER, json={"inputs": graph_inputs()})).status_code == 200


async def test_a_graph_answers_in_json_and_in_bytes(door: httpx.AsyncClient) -> None:
    asked = {"id": "me", "inputs": graph_inputs()}
    answer = (await door.post(INFER, json=asked)).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("dummy-fusion", "1", "me")
    (logits,) = answer["outputs"]
    assert (logits["name"], logits["datatype"], logits["shape"]) == ("logits", "FP32", [1, 12])
    wanted = {**asked, "outputs": [{"name": "logits", "parameters": {"binary_data": True}}]}
    response = await door.post(INFER, json=wanted)
    size = int(response.headers[HEADER])
    assert response.headers["content-type"] == "application/octet-stream"
    (described,) = json.loads(response.content[:size])["outputs"]
    assert described["parameters"] == {"binary_data_size": 48}
    np.testing.assert_array_equal(np.frombuffer(response.content[size:], "<f4"), np.float32(logits["data"]))
    assert "queue" in response.headers["server-timing"]


async def test_bytes_behind_the_json_are_the_inputs_in_turn(door: httpx.AsyncClient) -> None:
    plain = (await door.post(INFER, json={"inputs": graph_inputs()})).json()
    inputs = graph_inputs()
    for one, data in ((inputs[0], b"\1\2\3"), (inputs[2], struct.pack("<ii", 4, 5))):
        del one["data"]
        one["parameters"] = {"binary_data_size": len(data)}
    sent = binary({"inputs": inputs}, b"\1\2\3" + struct.pack("<ii", 4, 5))
    assert (await door.post("/v2/models/dummy-fusion/versions/1/infer", **sent)).json() == plain


@pytest.mark.parametrize("coding", ["gzip", "deflate", "identity"])
async def test_a_packed_body_is_unpacked(coding: str, door: httpx.AsyncClient) -> None:
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}[coding]
    body = pack(json.dumps({"inputs": graph_inputs()}).encode())
    response = await door.post(INFER, content=body, headers={"Content-Encoding": coding})
    assert response.status_code == 200, response.text


async def test_a_picture_alone_is_the_only_input(door: httpx.AsyncClient) -> None:
    response = await door.post(
        "/v2/models/dummy-captioner.caption/infer", content=PNG, headers={HEADER: "0", "Content-Type": "image/png"}
    )
    assert response.status_code == 200, response.text
    document = json.loads(response.content[: int(response.headers[HEADER])])
    assert [output["name"] for output in document["outputs"]] == ["answer", "result"]


async def test_a_task_answers_as_its_route_does(door: httpx.AsyncClient) -> None:
    files, data = {"image": ("a.png", PNG)}, {"question": "what is this?"}
    answers = (await door.post("/v1/vqa", files=files, data=data)).json()["answers"]
    image = tensor("image", "BYTES", [1], parameters={"binary_data_size": len(PNG) + 4})
    text = tensor("text", "BYTES", [1], ["what is this?"])
    sent = binary({"inputs": [image, text]}, len(PNG).to_bytes(4, "little") + PNG)
    answer, result = (await door.post("/v2/models/dummy.vqa/infer", **sent)).json()["outputs"]
    assert answer["data"] == [answers[0]["answer"]]
    told = json.loads(result["data"][0])["answers"]
    assert [{name: one[name] for name in ("answer", "score")} for one in told] == answers


async def test_only_the_wanted_outputs_come(door: httpx.AsyncClient) -> None:
    inputs = [tensor("text", "BYTES", [2], ["a", "b"])]
    asked = {"inputs": inputs, "outputs": [{"name": "embeddings"}]}
    (vectors,) = (await door.post("/v2/models/dummy-encoder.embeddings/infer", json=asked)).json()["outputs"]
    assert (vectors["name"], vectors["shape"]) == ("embeddings", [2, 16])


async def test_statistics_count_what_was_asked(door: httpx.AsyncClient) -> None:
    await door.post(INFER, json={"inputs": graph_inputs()})
    await door.post(INFER, json={"inputs": graph_inputs(), "parameters": {"timeout": "soon"}})
    (one,) = (await door.get("/v2/models/dummy-fusion/stats")).json()["model_stats"]
    assert (one["inference_count"], one["execution_count"]) == (1, 1)
    assert (one["inference_stats"]["success"]["count"], one["inference_stats"]["fail"]["count"]) == (1, 1)
    assert one in (await door.get("/v2/models/stats")).json()["model_stats"]


async def test_health_and_the_index(door: httpx.AsyncClient) -> None:
    assert (await door.get("/v2/health/live")).json() == {"live": True}
    assert (await door.get("/v2/health/ready")).json() == {"ready": True}
    assert (await door.get("/v2/models/dummy.vqa/ready")).json() == {"name": "dummy.vqa", "ready": True}
    index = (await door.post("/v2/repository/index", content=b"")).json()
    assert {"name": "dummy.vqa", "version": "1", "state": "READY", "reason": ""} in index
    assert (await door.post("/v2/repository/index", json={"ready": True})).json() == index
    assert (await door.post("/v2/repository/index", json={"ready": 1})).status_code == 400


NOT_THERE = ["", "/ready", "/config", "/stats", "/versions/7", "/versions/7/ready", "/versions/x/config"]


@pytest.mark.parametrize("end", NOT_THERE)
async def test_what_is_not_there_is_told_in_the_protocol_s_form(end: str, door: httpx.AsyncClient) -> None:
    name = "dummy-fusion" if "versions" in end else "nothing"
    response = await door.get(f"/v2/models/{name}{end}")
    assert response.status_code == 404
    assert set(response.json()) == {"error"}
    assert response.json()["error"].startswith("model_not_found: ")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v2/nothing", 404), ("GET", INFER, 405)])
async def test_wrong_ways_too(method: str, path: str, status: int, door: httpx.AsyncClient) -> None:
    response = await door.request(method, path)
    assert (response.status_code, list(response.json())) == (status, ["error"])


HOSTILE: dict[str, dict[str, Any]] = {
    "no inputs": {"inputs": []},
    "nothing": {},
    "inputs that are none": {"inputs": 3},
    "an input that is none": {"inputs": [3]},
    "a missing input": {"inputs": graph_inputs()[1:]},
    "an unknown input": {"inputs": [*graph_inputs(), tensor("x", "FP32", [1], [1.0])]},
    "an input twice": {"inputs": [*graph_inputs(), graph_inputs()[0]]},
    "an unknown output": {"inputs": graph_inputs(), "outputs": [{"name": "x"}]},
    "an output twice": {"inputs": graph_inputs(), "outputs": [{"name": "logits"}, {"name": "logits"}]},
    "an unknown field": {"inputs": graph_inputs(), "model": "x"},
    "an id that is none": {"inputs": graph_inputs(), "id": 7},
    "parameters that are none": {"inputs": graph_inputs(), "parameters": [1]},
    "a nested parameter": {"inputs": graph_inputs(), "parameters": {"a": {}}},
    "binary data that is none": {"inputs": graph_inputs(), "parameters": {"binary_data_output": 1}},
    "a priority that is none": {"inputs": graph_inputs(), "parameters": {"priority": 9}},
    "shared memory": {"inputs": graph_inputs(grid={"parameters": {"shared_memory_region": "r"}})},
    "no name": {"inputs": [{"shape": [1], "datatype": "INT32", "data": [1]}]},
    "no shape": {"inputs": graph_inputs(grid={"shape": None})},
    "a shape of texts": {"inputs": graph_inputs(grid={"shape": ["1", "2"]})},
    "a negative shape": {"inputs": graph_inputs(grid={"shape": [-1, -2]})},
    "a shape of nothing": {"inputs": graph_inputs(input_ids={"shape": [1, 0], "data": []})},
    "a shape of another rank": {"inputs": graph_inputs(grid={"shape": [2]})},
    "a giant shape": {"inputs": graph_inputs(input_ids={"shape": [1, 2**62]})},
    "a giant batch": {"inputs": graph_inputs(grid={"shape": [2**40, 2]})},
    "a shape over all bounds": {"inputs": graph_inputs(grid={"shape": [2**70, 2]})},
    "too many rows": {"inputs": graph_inputs(grid={"shape": [65, 2], "data": [1] * 130})},
    "rows that differ": {"inputs": graph_inputs(grid={"shape": [2, 2], "data": [1] * 4})},
    "another datatype": {"inputs": graph_inputs(grid={"datatype": "INT64"})},
    "a datatype that is none": {"inputs": graph_inputs(grid={"datatype": "int"})},
    "values of another type": {"inputs": graph_inputs(grid={"data": [1.5, 2]})},
    "values out of range": {"inputs": graph_inputs(grid={"data": [2**40, 2]})},
    "too few values": {"inputs": graph_inputs(grid={"data": [1]})},
    "ragged values": {"inputs": graph_inputs(input_ids={"data": [[1], 2]})},
    "values that are none": {"inputs": graph_inputs(grid={"data": "ab"})},
    "deep values": {"inputs": graph_inputs(grid={"data": [[[[[[1, 1]]]]]]})},
    "bytes that are not there": {"inputs": graph_inputs(grid={"data": None, "parameters": {"binary_data_size": 8}})},
    "bytes and values": {"inputs": graph_inputs(grid={"parameters": {"binary_data_size": 0}})},
    "numbers that the graph fails on": {"inputs": graph_inputs(input_ids={"data": [FAIL_TOKEN, 1]})},
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_json_is_refused(name: str, door: httpx.AsyncClient) -> None:
    response = await door.post(INFER, json=HOSTILE[name])
    assert response.status_code in (400, 413), response.text
    assert list(response.json()) == ["error"]


BODIES: dict[str, tuple[bytes, dict[str, str], int]] = {
    "no JSON": (b"{", {}, 400),
    "no object": (b"[]", {}, 400),
    "a deep list": (b'{"inputs":' + b"[" * 5000, {}, 400),
    "NaN": (b'{"inputs": [NaN]}', {}, 400),
    "a key twice": (b'{"id": "a", "id": "b"}', {}, 400),
    "a header over the body": (b"{}", {HEADER: "3"}, 400),
    "a header of nothing": (b"{}", {HEADER: ""}, 400),
    "a negative header": (b"{}", {HEADER: "-1"}, 400),
    "a giant header": (b"{}", {HEADER: "9" * 18}, 400),
    "a form": (b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    "a picture as JSON": (b"{}", {"Content-Type": "image/png"}, 415),
    "an unknown coding": (b"{}", {"Content-Encoding": "br"}, 415),
    "two codings": (b"{}", {"Content-Encoding": "gzip, gzip"}, 415),
    "no gzip": (b"{}", {"Content-Encoding": "gzip"}, 400),
    "half a gzip": (gzip.compress(b"{}" * 900)[:-9], {"Content-Encoding": "gzip"}, 400),
    "more than a gzip": (gzip.compress(b"{}") + b"x", {"Content-Encoding": "gzip"}, 400),
    "an empty gzip": (b"", {"Content-Encoding": "gzip"}, 400),
    "a gzip bomb": (gzip.compress(b" " * 50_000_000), {"Content-Encoding": "gzip"}, 413),
    "a deflate bomb": (zlib.compress(b" " * 50_000_000), {"Content-Encoding": "deflate"}, 413),
    "too large": (b" " * (LIMIT + 1), {}, 413),
    "a body alone for several inputs": (b"abc", {HEADER: "0"}, 400),
    "a body alone that is packed": (gzip.compress(b"abc"), {HEADER: "0", "Content-Encoding": "gzip"}, 400),
}


@pytest.mark.parametrize("name", BODIES)
async def test_hostile_bytes_are_refused(name: str, door: httpx.AsyncClient) -> None:
    content, headers, status = BODIES[name]
    response = await door.post(INFER, content=content, headers=headers)
    assert (response.status_code, list(response.json())) == (status, ["error"]), response.text


@pytest.mark.parametrize("tail", [b"", b"\1" * 7, b"\1" * 9])
async def test_bytes_that_are_cut_short_or_too_many_are_refused(tail: bytes, door: httpx.AsyncClient) -> None:
    inputs = graph_inputs(grid={"parameters": {"binary_data_size": 8}})
    del inputs[1]["data"]
    response = await door.post(INFER, **binary({"inputs": inputs}, tail))
    assert response.status_code == 400, response.text


async def test_json_beyond_its_own_bound_is_refused_and_binary_is_not_json() -> None:
    async with open_dummies("dummy", config=ServerConfig()) as door:
        padded = json.dumps({"inputs": graph_inputs()}).encode().ljust(8 * 1024 * 1024 + 1)
        response = await door.post(INFER, content=padded)
        assert (response.status_code, "as binary" in response.text) == (413, True)


async def test_a_timeout_of_microseconds_passes(door: httpx.AsyncClient) -> None:
    response = await door.post(INFER, json={"inputs": graph_inputs(), "parameters": {"timeout": 1}})
    assert (response.status_code, response.json()["error"].partition(":")[0]) == (504, "deadline_exceeded")


async def test_pieces_of_a_caption_are_refused(door: httpx.AsyncClient) -> None:
    inputs = [
        tensor("image", "BYTES", [1], parameters={"binary_data_size": len(PNG) + 4}),
        tensor("options", "BYTES", [1], ['{"stream": true}']),
    ]
    sent = binary({"inputs": inputs}, len(PNG).to_bytes(4, "little") + PNG)
    response = await door.post("/v2/models/dummy-captioner.caption/infer", **sent)
    assert (response.status_code, "ModelStreamInfer" in response.text) == (400, True)


@pytest.mark.parametrize(
    "inputs",
    [
        [tensor("text", "BYTES", [1], ["what?"])],
        [tensor("image", "BYTES", [1], ["no picture"]), tensor("text", "BYTES", [1], ["what?"])],
        [tensor("image", "BYTES", [2], ["a", "b"]), tensor("text", "BYTES", [1], ["what?"])],
        [tensor("image", "BYTES", [1], ["a"]), tensor("text", "BYTES", [9999], ["a"] * 9999)],
        [tensor("image", "BYTES", [1], ["a"]), tensor("text", "INT32", [1], [1])],
        [tensor("image", "BYTES", [1], ["a"]), tensor("text", "BYTES", [1], [""])],
        [tensor("image", "BYTES", [1], ["a"]), tensor("text", "BYTES", [1], ["\ud800"])],
        [
            tensor("image", "BYTES", [1], ["a"]),
            tensor("text", "BYTES", [1], ["a"]),
            tensor("options", "BYTES", [1], ["{"]),
        ],
        [
            tensor("image", "BYTES", [1], ["a"]),
            tensor("text", "BYTES", [1], ["a"]),
            tensor("options", "BYTES", [1], ['{"top_k": 1e9}']),
        ],
    ],
)
async def test_hostile_tasks_are_refused(inputs: list[dict[str, Any]], door: httpx.AsyncClient) -> None:
    body = json.dumps({"inputs": inputs}).encode()
    response = await door.post("/v2/models/dummy.vqa/infer", content=body)
    assert response.status_code in (400, 413, 422), response.text
    assert list(response.json()) == ["error"]
