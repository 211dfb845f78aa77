"""Entailment, reasoning, grounding and regions, with pictures or regions sent in every way; the service is scripted."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import pytest
import region_files as files
from vlp_pipeline.regions import Regions
from vlp_spec.tasks import EntailmentQuery, GroundingQuery, MatchQuery, ReasoningQuery, VqaQuery

LEFT, RIGHT = b"\x89 not looked at by the door", b"\xff neither is this"
SCORES = {"neutral": 0.75, "entailment": 0.25}
BOX = {"box": [0.0, 0.25, 0.5, 1.0], "score": 0.75}


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def as_form(fields: dict[str, Any]) -> dict[str, Any]:
    return {"files": {"image": ("a.jpg", LEFT)}, "data": fields}


def as_json(fields: dict[str, Any]) -> dict[str, Any]:
    return {"json": {"image": base64_of(LEFT), **fields}}


def as_raw(fields: dict[str, Any]) -> dict[str, Any]:
    return {"content": LEFT, "params": fields, "headers": {"Content-Type": "image/png"}}


def pair_as_form(fields: dict[str, Any]) -> dict[str, Any]:
    return {"files": [("image", ("a.jpg", LEFT)), ("image", ("b.jpg", RIGHT))], "data": fields}


def pair_as_json(fields: dict[str, Any]) -> dict[str, Any]:
    return {"json": {"images": [base64_of(LEFT), f"data:image/png;base64,{base64_of(RIGHT)}"], **fields}}


def regions_as_file(fields: dict[str, Any]) -> dict[str, Any]:
    return {"files": {"regions": ("a.npz", files.npz())}, "data": fields}


def regions_as_object(fields: dict[str, Any]) -> dict[str, Any]:
    return {"json": {"regions": files.as_json(), **fields}}


def regions_as_lists(fields: dict[str, Any]) -> dict[str, Any]:
    return {"json": {"regions": files.as_json(features=files.FEATURES.tolist()), **fields}}


def regions_as_base64(fields: dict[str, Any]) -> dict[str, Any]:
    return {"json": {"regions": base64.encodebytes(files.npz()).decode(), **fields}}


WAYS = pytest.mark.parametrize("way", [as_form, as_json, as_raw])
PAIR_WAYS = pytest.mark.parametrize("way", [pair_as_form, pair_as_json])
REGION_WAYS = pytest.mark.parametrize("way", [regions_as_file, regions_as_object, regions_as_lists, regions_as_base64])


@WAYS
async def test_one_hypothesis(way: Any, door: httpx.AsyncClient, scripted: Any) -> None:
    response = await door.post("/v1/entailment", **way({"hypothesis": "a dog sleeps", "model": "m"}))
    assert response.json() == {"model": "scripted@1", "label": "neutral", "scores": SCORES}
    assert list(response.json()["scores"]) == ["neutral", "entailment"]
    expected = {"image": LEFT, "queries": [EntailmentQuery("a dog sleeps")], "model": "m", "deadline": None}
    assert scripted.calls == [expected]


@WAYS
async def test_several_hypotheses(way: Any, door: httpx.AsyncClient) -> None:
    response = await door.post("/v1/entailment", **way({"hypotheses": ["a", "b"]}))
    one = {"label": "neutral", "scores": SCORES}
    assert response.json() == {
        "model": "scripted@1",
        "results": [{"hypothesis": "a", **one}, {"hypothesis": "b", **one}],
    }


@WAYS
async def test_a_list_of_one_is_answered_by_a_list(way: Any, door: httpx.AsyncClient) -> None:
    response = await door.post("/v1/entailment", **way({"hypotheses": ["a"] if way is as_json else '["a"]'}))
    assert [item["hypothesis"] for item in response.json()["results"]] == ["a"]


@PAIR_WAYS
async def test_one_statement_about_two_pictures(way: Any, door: httpx.AsyncClient, scripted: Any) -> None:
    response = await door.post("/v1/reasoning", **way({"statement": "both show dogs", "model": "m"}))
    assert response.json() == {"model": "scripted@1", "label": True, "score": 0.75}
    expected = {"image": (LEFT, RIGHT), "queries": [ReasoningQuery("both show dogs")], "model": "m", "deadline": None}
    assert scripted.calls == [expected]


@PAIR_WAYS
async def test_several_statements(way: Any, door: httpx.AsyncClient) -> None:
    response = await door.post("/v1/reasoning", **way({"statements": ["a", "b"]}))
    assert response.json() == {
        "model": "scripted@1",
        "results": [{"statement": text, "label": True, "score": 0.75} for text in ("a", "b")],
    }


@WAYS
async def test_one_phrase(way: Any, door: httpx.AsyncClient, scripted: Any) -> None:
    response = await door.post("/v1/grounding", **way({"phrase": "the dog"}))
    assert response.json() == {"model": "scripted@1", "boxes": [BOX]}
    assert scripted.calls[0]["queries"] == [GroundingQuery("the dog", 5)]


@WAYS
async def test_several_phrases(way: Any, door: httpx.AsyncClient, scripted: Any) -> None:
    response = await door.post("/v1/grounding", **way({"phrases": ["a", "b"], "top_k": 2}))
    assert response.json() == {
        "model": "scripted@1",
        "results": [{"phrase": "a", "boxes": [BOX]}, {"phrase": "b", "boxes": [BOX]}],
    }
    assert scripted.calls[0]["queries"] == [GroundingQuery("a", 2), GroundingQuery("b", 2)]


@WAYS
async def test_regions_with_their_features(way: Any, door: httpx.AsyncClient, scripted: Any) -> None:
    fields = {"features": True if way is as_json else "true", "model": "m"}
    response = await door.post("/v1/regions", **way(fields))
    assert response.json() == {
        "model": "scripted@1",
        "encoder": "digest",
        "regions": [{"box": [0.0, 0.25, 0.5, 1.0], "score": None, "name": "cat", "attribute": None}],
        "features": base64_of(np.ones(3, dtype="<f4").tobytes()),
        "feature_size": 3,
    }
    assert scripted.calls == [{"image": LEFT, "model": "m", "deadline": None}]
    assert "regions;dur=4.0" in response.headers["server-timing"]


@WAYS
async def test_regions_without_features(way: Any, door: httpx.AsyncClient) -> None:
    body = (await door.post("/v1/regions", **way({}))).json()
    assert set(body) == {"model", "encoder", "regions"}


@REGION_WAYS
@pytest.mark.parametrize(
    ("path", "fields", "query"),
    [
        ("vqa", {"question": "a?"}, VqaQuery("a?")),
        ("match", {"text": "a"}, MatchQuery("a")),
        ("entailment", {"hypothesis": "a"}, EntailmentQuery("a")),
        ("grounding", {"phrase": "a"}, GroundingQuery("a")),
    ],
)
async def test_regions_in_place_of_a_picture(
    way: Any, path: str, fields: Any, query: Any, door: httpx.AsyncClient, scripted: Any
) -> None:
    response = await door.post(f"/v1/{path}", **way(fields))
    assert response.status_code == 200, response.text
    (call,) = scripted.calls
    assert call["queries"] == [query]
    check_arrived(call["image"])


def check_arrived(regions: Any) -> None:
    assert isinstance(regions, Regions)
    np.testing.assert_array_equal(regions.boxes, files.BOXES)
    np.testing.assert_array_equal(regions.features, files.FEATURES)
    np.testing.assert_array_equal(regions.scores, files.SCORES)


def pair_of_files() -> dict[str, Any]:
    other = files.npz(features=files.FEATURES + 1)
    return {
        "files": [("regions", ("a.npz", files.npz())), ("regions", ("b.npz", other))],
        "data": {"statement": "a"},
    }


def pair_of_values() -> dict[str, Any]:
    other = base64_of(files.npz(features=files.FEATURES + 1))
    return {"json": {"regions": [files.as_json(), other], "statement": "a"}}


@pytest.mark.parametrize("pair", [pair_of_files, pair_of_values])
async def test_regions_in_place_of_two_pictures(pair: Any, door: httpx.AsyncClient, scripted: Any) -> None:
    response = await door.post("/v1/reasoning", **pair())
    assert response.status_code == 200, response.text
    left, right = scripted.calls[0]["image"]
    check_arrived(left)
    np.testing.assert_array_equal(right.features, files.FEATURES + 1)


async def test_boxes_in_pixels_become_shares(door: httpx.AsyncClient, scripted: Any) -> None:
    pixels = (files.BOXES * (640, 480, 640, 480)).tolist()
    regions = files.as_json(boxes=pixels, box_format="pixels", width=640, height=480)
    await door.post("/v1/vqa", json={"regions": regions, "question": "a?"})
    np.testing.assert_allclose(scripted.calls[0]["image"].boxes, files.BOXES, rtol=1e-6)


async def test_the_files_of_other_tools_are_read(door: httpx.AsyncClient, scripted: Any) -> None:
    sides = files.BOXES[:, 2:] - files.BOXES[:, :2]
    arrays = {"features": files.FEATURES, "norm_bb": np.concatenate([files.BOXES, sides], axis=1)}
    await door.post("/v1/vqa", files={"regions": files.npz(arrays)}, data={"question": "a?"})
    np.testing.assert_array_equal(scripted.calls[0]["image"].positions[:, 4:6], sides)


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg"])
async def test_one_bare_picture_is_not_compared(media_type: str, door: httpx.AsyncClient, scripted: Any) -> None:
    response = await door.post("/v1/reasoning?statement=a", content=LEFT, headers={"Content-Type": media_type})
    assert (response.status_code, response.json()["kind"]) == (415, "unsupported_media_type")
    assert "multipart/form-data with two file fields 'image', or application/json" in response.json()["detail"]
    assert scripted.calls == []


async def test_large_regions_arrive(door: httpx.AsyncClient, scripted: Any) -> None:
    features = np.random.default_rng(0).random((100, 2048), dtype=np.float32)
    arrays = {"boxes": np.tile(files.BOXES[:1], (100, 1)), "features": features}
    packed = base64_of(features.astype("<f4").tobytes())
    as_object = {"boxes": arrays["boxes"].tolist(), "features": packed}
    await door.post("/v1/vqa", files={"regions": files.npz(arrays)}, data={"question": "a?"})
    await door.post("/v1/vqa", json={"regions": as_object, "question": "a?"})
    for call in scripted.calls:
        np.testing.assert_array_equal(call["image"].features, features)
    assert scripted.calls[0]["image"].digest() == scripted.calls[1]["image"].digest()
