from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from vlp_cli.generate import openapi_text
from vlp_server.config import LogConfig, ServerConfig
from vlp_server.core.records import Readiness

DOCS = Path(__file__).parents[3] / "docs"


async def test_models_have_openai_s_shape_and_ours(door: httpx.AsyncClient) -> None:
    body = (await door.get("/v1/models")).json()
    assert body["object"] == "list"
    assert body["data"] == [
        {
            "id": "scripted@1",
            "object": "model",
            "created": 1767323045,
            "owned_by": "vlpserve",
            "name": "scripted",
            "version": 1,
            "family": "vilt",
            "tasks": ["vqa"],
            "precision": "fp32",
            "limits": {"text": 40},
            "state": "ready",
            "reason": "ready",
            "default": True,
            "default_for": ["vqa"],
        }
    ]
    assert body["request_limits"]["questions"] == 64


async def test_liveness(door: httpx.AsyncClient, scripted: Any) -> None:
    alive = await door.get("/livez")
    scripted.is_alive = False
    stuck = await door.get("/livez")
    assert (alive.status_code, alive.json()) == (200, {"alive": True})
    assert (stuck.status_code, stuck.json()["kind"]) == (503, "unavailable")


async def test_readiness_tells_the_reasons(door: httpx.AsyncClient, scripted: Any) -> None:
    ready = await door.get("/readyz")
    scripted.ready = Readiness(False, {"a@1": "ready", "b@1": "canary failed"}, "some models are not ready")
    waiting = await door.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "models": {"scripted@1": "ready"}})
    assert (waiting.status_code, waiting.json()["detail"]) == (503, "b@1: canary failed")
    assert waiting.json()["models"] == {"a@1": "ready", "b@1": "canary failed"}
    assert waiting.headers["retry-after"] == "1"


async def test_metrics_hold_the_core_s_and_the_door_s(dummy_door: httpx.AsyncClient) -> None:
    await dummy_door.get("/nothing/secret-path")
    await dummy_door.post("/v1/vqa", files={"image": b"no"}, data={"question": "a?"})
    response = await dummy_door.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    lines = response.text.splitlines()
    refused = 'vlpserve_http_requests_total{kind="invalid_image",method="POST",route="/v1/vqa",status="422"} 1.0'
    lost = 'vlpserve_http_requests_total{kind="not_found",method="GET",route="other",status="404"} 1.0'
    assert refused in lines
    assert lost in lines
    assert "secret-path" not in response.text
    assert any("batch" in line for line in lines)


async def test_the_root_leads_to_the_documentation(door: httpx.AsyncClient) -> None:
    root = await door.get("/")
    assert (root.status_code, root.headers["location"]) == (307, "/docs")
    page = await door.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "POST /v1/vqa" in page.text
    assert "multipart/form-data" in page.text
    assert "image (required)" in page.text
    assert "http://" not in page.text.replace("http(s)", "")
    assert "<script" not in page.text
    assert (await door.get("/openapi.json")).json()["info"]["title"] == "vlpserve"


async def test_access_lines_hold_no_question(
    door_with: Any, caplog: pytest.LogCaptureFixture, door: httpx.AsyncClient
) -> None:
    call: dict[str, Any] = {"content": b"x", "headers": {"Content-Type": "image/png"}}
    with caplog.at_level(logging.INFO):
        await door.post("/v1/vqa?question=who+is+she", **call)
        assert not [record for record in caplog.records if record.name == "vlpserve.access"]
        async with door_with(ServerConfig(log=LogConfig(access=True))) as logged:
            response = await logged.post("/v1/vqa?question=who+is+she", **call)
    (line,) = [record for record in caplog.records if record.name == "vlpserve.access"]
    fields: dict[str, Any] = line.__dict__["fields"]
    assert fields["request_id"] == response.headers["x-request-id"]
    assert (fields["route"], fields["status"], fields["model"]) == ("/v1/vqa", 200, "scripted@1")
    assert "she" not in json.dumps(fields)


def test_the_openapi_file_is_current() -> None:
    assert (DOCS / "openapi.json").read_text(encoding="utf-8") == openapi_text(), "run: vlpserve generate"


PROBLEMS = ("400", "404", "408", "413", "415", "422", "429", "500", "503", "504")
FORM, JSON, RAW = "multipart/form-data", "application/json", "image/*"
IN_PLACE = [{"required": ["image"]}, {"required": ["regions"]}]


def operation_of(task: str) -> dict[str, Any]:
    operation: dict[str, Any] = json.loads(openapi_text())["paths"][f"/v1/{task}"]["post"]
    return operation


@pytest.mark.parametrize(
    ("task", "field"),
    [
        ("vqa", "question"),
        ("caption", "max_tokens"),
        ("match", "text"),
        ("classify", "label"),
        ("entailment", "hypothesis"),
        ("grounding", "phrase"),
        ("regions", "features"),
    ],
)
def test_the_description_shows_all_three_bodies_and_the_problems(task: str, field: str) -> None:
    operation = operation_of(task)
    content = operation["requestBody"]["content"]
    assert set(content) == {FORM, JSON, RAW}
    assert content[JSON]["schema"]["additionalProperties"] is False
    assert {field, "model", "X-Request-Timeout-Ms"} <= {item["name"] for item in operation["parameters"]}
    for status in PROBLEMS:
        schema = operation["responses"][status]["content"]["application/problem+json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ProblemDocument"}
    assert "ProblemDocument" in json.loads(openapi_text())["components"]["schemas"]


@pytest.mark.parametrize("task", ["caption", "classify", "regions"])
def test_where_only_a_picture_will_do_it_is_required(task: str) -> None:
    operation = operation_of(task)
    for media_type in (FORM, JSON):
        schema = operation["requestBody"]["content"][media_type]["schema"]
        assert schema["required"] == ["image"]
        assert "regions" not in schema["properties"]
    assert "409" not in operation["responses"]


@pytest.mark.parametrize("task", ["vqa", "match", "entailment", "grounding"])
def test_regions_may_stand_in_the_place_of_the_picture(task: str) -> None:
    operation = operation_of(task)
    form, body = (operation["requestBody"]["content"][media_type]["schema"] for media_type in (FORM, JSON))
    assert form["oneOf"] == body["oneOf"] == IN_PLACE
    assert form["properties"]["regions"]["format"] == "binary"
    as_object, as_text = body["properties"]["regions"]["anyOf"]
    assert set(as_object["properties"]) == {"boxes", "features", "scores", "box_format", "width", "height"}
    assert as_text["contentEncoding"] == "base64"
    assert "409" in operation["responses"]
    assert "regions" not in {item["name"] for item in operation["parameters"]}


def test_two_pictures_are_described_and_no_bare_one() -> None:
    operation = operation_of("reasoning")
    content = operation["requestBody"]["content"]
    assert set(content) == {FORM, JSON}
    for field in (
        content[FORM]["schema"]["properties"]["image"],
        content[FORM]["schema"]["properties"]["regions"],
        content[JSON]["schema"]["properties"]["images"],
        content[JSON]["schema"]["properties"]["regions"],
    ):
        assert (field["minItems"], field["maxItems"]) == (2, 2)
    assert all(item["in"] == "header" for item in operation["parameters"])


@pytest.mark.parametrize(
    ("task", "schemas"),
    [
        ("entailment", ["EntailmentScores", "EntailmentResults"]),
        ("reasoning", ["ReasoningTruth", "ReasoningResults"]),
        ("grounding", ["GroundingBoxes", "GroundingResults"]),
    ],
)
async def test_answers_are_as_described(task: str, schemas: list[str], door: httpx.AsyncClient) -> None:
    """Each answer has exactly the members of one of its schemas."""
    described = operation_of(task)["responses"]["200"]["content"][JSON]["schema"]["anyOf"]
    assert [option["$ref"].rpartition("/")[2] for option in described] == schemas
    known = json.loads(openapi_text())["components"]["schemas"]
    plural, one = {"entailment": ("hypotheses", "hypothesis"), "reasoning": ("statements", "statement")}.get(
        task, ("phrases", "phrase")
    )
    pictures = [("image", ("a", b"x"))] * (2 if task == "reasoning" else 1)
    single = (await door.post(f"/v1/{task}", files=pictures, data={one: "a"})).json()
    listed = (await door.post(f"/v1/{task}", files=pictures, data={plural: '["a"]'})).json()
    assert set(single) == set(known[schemas[0]]["required"])
    assert set(listed) == set(known[schemas[1]]["required"])
    item = known[schemas[1]]["properties"]["results"]["items"]["$ref"].rpartition("/")[2]
    assert set(listed["results"][0]) == set(known[item]["required"])


async def test_the_page_shows_what_may_stand_for_what(door: httpx.AsyncClient) -> None:
    page = (await door.get("/docs")).text
    assert "regions (one of these)" in page
    assert "images (one of these)" in page
    for task in ("caption", "entailment", "reasoning", "grounding", "regions"):
        assert f"POST /v1/{task}" in page


async def test_captions_are_described_in_both_of_their_forms(door: httpx.AsyncClient) -> None:
    content = operation_of("caption")["responses"]["200"]["content"]
    assert set(content) == {JSON, "text/event-stream"}
    assert content[JSON]["schema"] == {"$ref": "#/components/schemas/Captions"}
    known = json.loads(openapi_text())["components"]["schemas"]
    answer = (await door.post("/v1/caption", files={"image": ("a", b"x")})).json()
    assert set(answer) == set(known["Captions"]["required"])
    assert set(answer["captions"][0]) == set(known["Caption"]["required"])
    streamed = await door.post("/v1/caption", files={"image": ("a", b"x")}, data={"stream": "true"})
    example = content["text/event-stream"]["example"].split("\n\n")
    assert [event.split("{")[0] for event in example] == [event.split("{")[0] for event in streamed.text.split("\n\n")]


def test_every_reference_of_the_description_leads_somewhere() -> None:
    description = json.loads(openapi_text())
    found: list[str] = []

    def gather(value: Any) -> None:
        if isinstance(value, dict):
            found.extend([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
            for item in value.values():
                gather(item)
        for item in value if isinstance(value, list) else []:
            gather(item)

    gather(description)
    assert len(found) > 100
    for reference in set(found):
        place: Any = description
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]
        assert place
