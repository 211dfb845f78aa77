"""One real process, asked in each way that a picture can be sent, with the pages that operators look at."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import httpx
import pictures_made as pictures
import pytest
from server_process import ServerProcess

QUESTION = "what is it?"


@pytest.fixture
def client(dummy_server: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=dummy_server.url, timeout=30, trust_env=False) as client:
        yield client


def test_the_ready_file_names_a_server_that_answers(dummy_server: ServerProcess, client: httpx.Client) -> None:
    ready_file = dummy_server.log_file.with_name("ready.json")
    facts = json.loads(ready_file.read_text())
    assert facts.pop("grpc_port") > 0
    assert facts == {
        "http_host": "127.0.0.1",
        "http_port": dummy_server.port,
        "pid": dummy_server.process.pid,
        "grpc_host": "127.0.0.1",
    }
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "models": {"dummy@1": "ready"}})
    assert client.get("/livez").status_code == 200


def test_the_three_ways_to_send_a_picture_give_one_answer(client: httpx.Client) -> None:
    picture = pictures.png()
    form = client.post("/v1/vqa", files={"image": ("a.png", picture)}, data={"question": QUESTION})
    as_json = client.post("/v1/vqa", json={"image": base64.b64encode(picture).decode(), "question": QUESTION})
    headers = {"Content-Type": "image/png"}
    raw = client.post("/v1/vqa", params={"question": QUESTION}, content=picture, headers=headers)
    assert [reply.status_code for reply in (form, as_json, raw)] == [200, 200, 200], form.text + as_json.text + raw.text
    assert form.json()["model"] == "dummy@1"
    assert len(form.json()["answers"]) == 5
    assert form.json() == as_json.json() == raw.json()


def test_many_questions_and_a_closed_list_in_one_call(client: httpx.Client) -> None:
    call = {
        "image": base64.b64encode(pictures.jpeg()).decode(),
        "questions": ["is it red?", "is it blue?"],
        "answers": ["yes", "no"],
    }
    reply = client.post("/v1/vqa", json=call)
    assert reply.status_code == 200, reply.text
    assert [result["question"] for result in reply.json()["results"]] == ["is it red?", "is it blue?"]
    assert all({a["answer"] for a in result["answers"]} == {"yes", "no"} for result in reply.json()["results"])


def test_the_pages_of_operators(client: httpx.Client) -> None:
    picture = {"image": pictures.jpeg()}
    asked = client.post("/v1/vqa", files=picture, data={"question": "a question of this test alone?"})
    assert asked.status_code == 200
    assert {"queue", "preprocess", "infer", "total"} <= {
        entry.partition(";")[0].strip() for entry in asked.headers["server-timing"].split(",")
    }
    metrics = client.get("/metrics").text
    for name in ("requests_total", "stage_seconds_count", "batch_items_count", "padding_waste_ratio_count"):
        assert f"\nvlpserve_{name}{{" in metrics
    assert '\nvlpserve_queue_items{model="dummy@1",role="fusion"} 0.0\n' in metrics
    assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["dummy@1"]
    assert {"/v1/vqa", "/v1/models", "/livez", "/readyz"} <= set(client.get("/openapi.json").json()["paths"])
