"""Entailment, reasoning, grounding and regions through the door, over the dummy engine: the core's own answers."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import pictures_made as pictures
import pytest
from dummy_door import dummy_service
from vlp_server.config import ServerConfig
from vlp_server.core.service import Service
from vlp_server.http.app import create_app
from vlp_spec.tasks import EntailmentQuery, GroundingQuery, ReasoningQuery

LEFT, RIGHT = pictures.jpeg(), pictures.encode(pictures.gradient().rotate(180), "PNG")
NAMES = (
    "dummy-entailment",
    "dummy-reasoning",
    "dummy-grounding",
    "dummy-extractor",
    "dummy-reader",
    "dummy-reader-matcher",
    "dummy-reader-entailment",
    "dummy-reader-reasoning",
    "dummy-reader-grounding",
)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = dummy_service(*NAMES)
    await service.start()
    assert (await service.wait_ready(30)).ready
    yield service
    await service.close()


@pytest.fixture
async def door(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(service, ServerConfig())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://door") as client:
        yield client


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def test_answers_are_the_core_s(door: httpx.AsyncClient, service: Service) -> None:
    entailed = (await service.entailment(LEFT, [EntailmentQuery("a dog")])).results[0]
    judged = (await door.post("/v1/entailment", files={"image": LEFT}, data={"hypothesis": "a dog"})).json()
    assert judged["model"] == "dummy-entailment@1"
    assert judged["label"] == entailed.label == next(iter(judged["scores"]))
    assert judged["scores"] == {scored.label: scored.score for scored in entailed.scores}
    assert sum(judged["scores"].values()) == pytest.approx(1.0)

    true = (await service.reasoning((LEFT, RIGHT), [ReasoningQuery("two dogs")])).results[0]
    sent = {"images": [base64_of(LEFT), base64_of(RIGHT)], "statement": "two dogs"}
    compared = (await door.post("/v1/reasoning", json=sent)).json()
    assert compared == {"model": "dummy-reasoning@1", "label": true.score >= 0.5, "score": true.score}

    found = (await service.grounding(LEFT, [GroundingQuery("the dog", 2)])).results[0]
    pointed = (
        await door.post("/v1/grounding", json={"image": base64_of(LEFT), "phrase": "the dog", "top_k": 2})
    ).json()
    assert pointed["boxes"] == [{"box": list(one.box), "score": one.score} for one in found.boxes]
    assert len(pointed["boxes"]) == 2


async def test_left_is_not_right(door: httpx.AsyncClient) -> None:
    async def compare(*images: bytes) -> float:
        sent = [("image", ("a", image)) for image in images]
        response = await door.post("/v1/reasoning", files=sent, data={"statement": "a"})
        return float(response.json()["score"])

    assert await compare(LEFT, RIGHT) != await compare(RIGHT, LEFT)


def as_regions(found: dict[str, Any]) -> dict[str, Any]:
    """What /v1/regions answered, as other calls take it."""
    return {
        "boxes": [region["box"] for region in found["regions"]],
        "scores": [region["score"] for region in found["regions"]],
        "features": found["features"],
    }


async def find(door: httpx.AsyncClient, picture: bytes) -> dict[str, Any]:
    body: dict[str, Any] = (await door.post("/v1/regions", files={"image": picture}, data={"features": "true"})).json()
    return body


async def test_regions_are_the_core_s_to_the_last_bit(door: httpx.AsyncClient, service: Service) -> None:
    body, reply = await find(door, LEFT), await service.regions(LEFT)
    expected = reply.found.regions
    features = np.frombuffer(base64.b64decode(body["features"]), dtype="<f4").reshape(-1, body["feature_size"])
    np.testing.assert_array_equal(features, expected.features)
    boxes = np.array([region["box"] for region in body["regions"]], dtype=np.float32)
    np.testing.assert_array_equal(boxes, expected.boxes)
    assert expected.scores is not None
    scores = np.array([region["score"] for region in body["regions"]], dtype=np.float32)
    np.testing.assert_array_equal(scores, expected.scores)
    assert (body["model"], body["encoder"]) == (reply.model, reply.encoder)
    assert tuple(region["name"] for region in body["regions"]) == reply.found.names
    assert tuple(region["attribute"] for region in body["regions"]) == reply.found.attributes


@pytest.mark.parametrize(
    ("path", "fields", "model"),
    [
        ("vqa", {"question": "what?"}, "dummy-reader"),
        ("match", {"texts": ["a", "b"]}, "dummy-reader-matcher"),
        ("entailment", {"hypothesis": "a"}, "dummy-reader-entailment"),
        ("grounding", {"phrases": ["a", "b"]}, "dummy-reader-grounding"),
    ],
)
async def test_what_the_server_found_gets_the_answer_of_its_picture(
    path: str, fields: dict[str, Any], model: str, door: httpx.AsyncClient
) -> None:
    by_regions = await door.post(
        f"/v1/{path}", json={"regions": as_regions(await find(door, LEFT)), "model": model, **fields}
    )
    by_picture = await door.post(f"/v1/{path}", json={"image": base64_of(LEFT), "model": model, **fields})
    other = await door.post(f"/v1/{path}", json={"image": base64_of(RIGHT), "model": model, **fields})
    assert by_regions.status_code == 200, by_regions.text
    assert by_regions.json() == by_picture.json()
    assert by_picture.json() != other.json()


async def test_what_the_server_found_in_two_pictures_gets_their_answer(door: httpx.AsyncClient) -> None:
    fields = {"statement": "a", "model": "dummy-reader-reasoning"}
    regions = [as_regions(await find(door, LEFT)), as_regions(await find(door, RIGHT))]
    by_regions = await door.post("/v1/reasoning", json={"regions": regions, **fields})
    by_picture = await door.post("/v1/reasoning", files=[("image", ("a", LEFT)), ("image", ("b", RIGHT))], data=fields)
    assert by_regions.status_code == 200, by_regions.text
    assert by_regions.json() == by_picture.json()


async def test_the_time_that_regions_took_is_told(door: httpx.AsyncClient) -> None:
    fields = {"question": "what?", "model": "dummy-reader"}
    first = await door.post("/v1/vqa", files={"image": LEFT}, data=fields)
    kept = await door.post("/v1/vqa", files={"image": LEFT}, data={**fields, "question": "else?"})
    assert "regions;dur=" in first.headers["server-timing"]
    assert "regions;dur=" not in kept.headers["server-timing"]


async def test_a_question_that_fails_is_told_and_hurts_nobody_else(door: httpx.AsyncClient) -> None:
    for path, field in (("entailment", "hypothesis"), ("grounding", "phrase")):
        failed = await door.post(f"/v1/{path}", files={"image": LEFT}, data={field: "[nan]"})
        assert (failed.status_code, failed.json()["kind"]) == (500, "inference_failed")
        assert (await door.post(f"/v1/{path}", files={"image": LEFT}, data={field: "a"})).status_code == 200


async def test_the_list_says_which_task_each_model_does(door: httpx.AsyncClient) -> None:
    data = (await door.get("/v1/models")).json()["data"]
    assert {item["name"]: item["default_for"] for item in data} == {
        "dummy-entailment": ["entailment"],
        "dummy-reasoning": ["reasoning"],
        "dummy-grounding": ["grounding"],
        "dummy-extractor": ["regions"],
        "dummy-reader": ["vqa"],
        "dummy-reader-matcher": ["match"],
        "dummy-reader-entailment": [],
        "dummy-reader-reasoning": [],
        "dummy-reader-grounding": [],
    }
    limits = {item["name"]: item["limits"] for item in data}
    assert limits["dummy-reader-reasoning"]["left_regions"] == limits["dummy-reader"]["regions"] == 100
