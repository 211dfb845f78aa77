"""Embeddings, classification and matching through the door, over the dummy engine."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pictures_made as pictures
import pytest
from vlp_server.config import LimitsConfig, ServerConfig
from vlp_server.core.service import Service
from vlp_server.core.settings import CoreSettings, EngineSettings, ModelSettings
from vlp_server.http.app import create_app

PICTURE = pictures.jpeg()
BASE64 = base64.b64encode(PICTURE).decode()
NAMES = ("dummy", "dummy-encoder", "dummy-matcher")
LIMITS = LimitsConfig(inputs=4, labels=3, label_chars=10, texts=3, text_chars=20, templates=2)


@pytest.fixture
async def retrieval_door() -> AsyncIterator[httpx.AsyncClient]:
    models = tuple(ModelSettings(reference=name, engine=EngineSettings(engine="dummy")) for name in NAMES)
    service = Service(CoreSettings(models=models, preprocess_threads=1))
    await service.start()
    assert (await service.wait_ready(30)).ready
    app = create_app(service, ServerConfig(limits=LIMITS))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door") as client:
        yield client
    await service.close()


async def embed(door: httpx.AsyncClient, given: Any, **fields: Any) -> httpx.Response:
    return await door.post("/v1/embeddings", json={"input": given, **fields})


def vectors_of(response: httpx.Response) -> np.ndarray:
    assert response.status_code == 200, response.text
    return np.array([item["embedding"] for item in response.json()["data"]], dtype=np.float32)


async def test_embeddings_have_openai_s_shape(retrieval_door: httpx.AsyncClient) -> None:
    body = (await embed(retrieval_door, "a red cat", model="dummy-encoder", user="me")).json()
    assert set(body) == {"object", "data", "model", "usage"}
    assert (body["object"], body["model"]) == ("list", "dummy-encoder@1")
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert (body["data"][0]["object"], body["data"][0]["index"]) == ("embedding", 0)


async def test_texts_and_pictures_may_be_mixed(retrieval_door: httpx.AsyncClient) -> None:
    uri = f"data:image/jpeg;base64,{BASE64}"
    response = await embed(retrieval_door, ["a cat", {"image": BASE64}, {"text": "a cat"}, {"image": uri}])
    rows = vectors_of(response)
    assert rows.shape == (4, 16)
    np.testing.assert_array_equal(rows[0], rows[2])
    np.testing.assert_array_equal(rows[1], rows[3])
    assert not np.array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(vectors_of(await embed(retrieval_door, {"image": BASE64})), rows[1:2])
    assert "batch;desc=" in response.headers["server-timing"]


async def test_base64_holds_the_same_float32(retrieval_door: httpx.AsyncClient) -> None:
    plain = vectors_of(await embed(retrieval_door, ["a", "b"]))
    packed = (await embed(retrieval_door, ["a", "b"], encoding_format="base64")).json()["data"]
    rows = np.stack([np.frombuffer(base64.b64decode(item["embedding"]), dtype="<f4") for item in packed])
    np.testing.assert_array_equal(rows, plain)


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({}, 400, "invalid_argument", "input"),
        ({"input": []}, 400, "invalid_argument", "input"),
        ({"input": " "}, 400, "invalid_argument", "input"),
        ({"input": ["a", ""]}, 400, "invalid_argument", "input"),
        ({"input": [1, 2]}, 400, "invalid_argument", "input"),
        ({"input": [[1, 2]]}, 400, "invalid_argument", "input"),
        ({"input": [None]}, 400, "invalid_argument", "input"),
        ({"input": [{"picture": "x"}]}, 400, "invalid_argument", "input"),
        ({"input": [{"text": "a", "image": BASE64}]}, 400, "invalid_argument", "input"),
        ({"input": [{"image": "***"}]}, 400, "invalid_argument", "image"),
        ({"input": [{"image": base64.b64encode(b"no picture").decode()}]}, 422, "invalid_image", None),
        ({"input": [{"image": "https://example.org/a.jpg"}]}, 400, "invalid_argument", "image"),
        ({"input": ["a"] * 5}, 413, "too_large", None),
        ({"input": "x" * 21}, 413, "too_large", None),
        ({"input": "\ud800"}, 400, "invalid_argument", "input"),
        ({"input": "a", "dimensions": 8}, 400, "invalid_argument", "dimensions"),
        ({"input": "a", "dimensions": 0}, 400, "invalid_argument", "dimensions"),
        ({"input": "a", "encoding_format": "int8"}, 400, "invalid_argument", "encoding_format"),
        ({"input": "a", "colour": "red"}, 400, "invalid_argument", "colour"),
        ({"input": "a", "model": "nobody"}, 404, "model_not_found", None),
        ({"input": "a", "model": "dummy"}, 400, "task_not_supported", None),
        ({"input": "[nan]"}, 500, "inference_failed", None),
    ],
)
async def test_faults_have_openai_s_form(
    body: Any, status: int, code: str, param: str | None, retrieval_door: httpx.AsyncClient
) -> None:
    content = json.dumps(body)
    response = await retrieval_door.post(
        "/v1/embeddings", content=content, headers={"Content-Type": "application/json"}
    )
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param), error
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert set(error) == {"message", "type", "param", "code"}
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    assert vectors_of(await embed(retrieval_door, "next")).shape == (1, 16)


async def test_what_the_framework_refuses_here_has_openai_s_form_too(retrieval_door: httpx.AsyncClient) -> None:
    wrong_method = await retrieval_door.get("/v1/embeddings")
    wrong_type = await retrieval_door.post("/v1/embeddings", content=b"x", headers={"Content-Type": "text/plain"})
    with_query = await retrieval_door.post("/v1/embeddings?model=x", json={"input": "a"})
    late = await retrieval_door.post("/v1/embeddings", json={"input": "a"}, headers={"X-Request-Timeout-Ms": "x"})
    found = [(response.status_code, response.json()["error"]["code"]) for response in (wrong_method, wrong_type)]
    assert found == [(405, "method_not_allowed"), (415, "unsupported_media_type")]
    assert (with_query.json()["error"]["param"], late.json()["error"]["param"]) == ("model", "X-Request-Timeout-Ms")


def as_form(fields: dict[str, Any]) -> dict[str, Any]:
    return {"files": {"image": ("a.jpg", PICTURE)}, "data": fields}


def as_json(fields: dict[str, Any]) -> dict[str, Any]:
    return {"json": {"image": BASE64, **fields}}


def as_raw(fields: dict[str, Any]) -> dict[str, Any]:
    return {"content": PICTURE, "params": fields, "headers": {"Content-Type": "image/jpeg"}}


WAYS = pytest.mark.parametrize("way", [as_form, as_json, as_raw])


@WAYS
async def test_classification_in_three_ways(way: Any, retrieval_door: httpx.AsyncClient) -> None:
    fields = {"labels": ["cat", "dog", "car"], "template": "a {} here"}
    body = (await retrieval_door.post("/v1/classify", **way(fields))).json()
    assert body["model"] == "dummy-encoder@1"
    assert {item["label"] for item in body["scores"]} == {"cat", "dog", "car"}
    assert sum(item["score"] for item in body["scores"]) == pytest.approx(1.0)
    assert body == (await retrieval_door.post("/v1/classify", **as_json(fields))).json()
    plain = (await retrieval_door.post("/v1/classify", **way({"labels": ["cat", "dog", "car"]}))).json()
    assert plain["scores"] != body["scores"]


@WAYS
async def test_matching_in_three_ways(way: Any, retrieval_door: httpx.AsyncClient) -> None:
    body = (await retrieval_door.post("/v1/match", **way({"texts": ["a cat", "a dog"]}))).json()
    assert body["model"] == "dummy-matcher@1"
    assert [item["text"] for item in body["scores"]] == ["a cat", "a dog"]
    assert all(0 < item["itm"] < 1 for item in body["scores"])
    one = (await retrieval_door.post("/v1/match", **way({"text": "a dog"}))).json()
    assert one["scores"] == body["scores"][1:]


@pytest.mark.parametrize("way", [as_form, as_raw])
async def test_a_form_may_repeat_the_field_of_one(way: Any, retrieval_door: httpx.AsyncClient) -> None:
    repeated = await retrieval_door.post("/v1/classify", **way({"label": ["cat", "dog"], "template": ["a {}", "{}"]}))
    listed = await retrieval_door.post(
        "/v1/classify", **as_json({"labels": ["cat", "dog"], "templates": ["a {}", "{}"]})
    )
    assert repeated.json() == listed.json()


@WAYS
@pytest.mark.parametrize(
    ("path", "fields", "status", "field"),
    [
        ("classify", {}, 400, "labels"),
        ("classify", {"labels": ["cat", "cat"]}, 400, "labels"),
        ("classify", {"labels": ["cat", " "]}, 400, "labels"),
        ("classify", {"label": "cat", "labels": ["dog"]}, 400, "labels"),
        ("classify", {"labels": ["cat"], "template": "a photo"}, 400, "template"),
        ("classify", {"labels": ["a", "b", "c", "d"]}, 413, None),
        ("classify", {"labels": ["x" * 11]}, 413, None),
        ("classify", {"labels": ["cat"], "templates": ["{}", "a {}", "b {}"]}, 413, None),
        ("classify", {"labels": ["cat"], "model": "dummy-matcher"}, 400, None),
        ("classify", {"labels": ["cat"], "texts": ["cat"]}, 400, "texts"),
        ("match", {}, 400, "texts"),
        ("match", {"texts": ["a", " "]}, 400, "texts[1]"),
        ("match", {"text": "a", "texts": ["b"]}, 400, "texts"),
        ("match", {"texts": ["a", "b", "c", "d"]}, 413, None),
        ("match", {"texts": ["x" * 21]}, 413, None),
        ("match", {"text": "a", "model": "dummy"}, 400, None),
    ],
)
async def test_faults_name_their_field(
    way: Any, path: str, fields: Any, status: int, field: str | None, retrieval_door: httpx.AsyncClient
) -> None:
    response = await retrieval_door.post(f"/v1/{path}", **way(fields))
    assert (response.status_code, response.json().get("field")) == (status, field), response.text
    assert response.headers["content-type"] == "application/problem+json"


async def test_the_list_says_which_task_each_model_does(retrieval_door: httpx.AsyncClient) -> None:
    body = (await retrieval_door.get("/v1/models")).json()
    assert {item["name"]: item["default_for"] for item in body["data"]} == {
        "dummy": ["vqa"],
        "dummy-encoder": ["embeddings", "classify"],
        "dummy-matcher": ["match"],
    }
    assert body["request_limits"]["inputs"] == 4
