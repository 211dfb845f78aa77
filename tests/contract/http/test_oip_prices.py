"""A task costs the same whichever API it is asked through, and its words and its name are in the log."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import pytest
from dummy_door import open_dummies
from service_rig import picture
from vlp_server.config import AccessConfig, LogConfig, ServerConfig

PICTURE = picture("red")
URI = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"
NAMES = ("dummy", "dummy-captioner", "dummy-encoder", "dummy-reasoning", "dummy-matcher")
FULL = 1e6
CONFIG = ServerConfig(access=AccessConfig(rate=1e-6, burst=FULL), log=LogConfig(access=True, questions=True))
QUESTIONS = [f"what is number {number}" for number in range(30)]
ASKED: list[tuple[str, dict[str, Any], str, int, list[str], dict[str, Any]]] = [
    ("vqa", {"image": URI, "questions": QUESTIONS, "top_k": 2}, "dummy.vqa", 1, QUESTIONS, {"top_k": 2}),
    (
        "caption",
        {"image": URI, "num_beams": 8, "max_tokens": 100},
        "dummy-captioner.caption",
        1,
        [],
        {"num_beams": 8, "max_tokens": 100},
    ),
    ("classify", {"image": URI, "labels": ["a", "b"]}, "dummy-encoder.classify", 1, ["a", "b"], {}),
    ("embeddings", {"input": ["a text", {"image": URI}]}, "dummy-encoder.embeddings", 1, ["a text"], {}),
    ("match", {"image": URI, "texts": ["a", "b"]}, "dummy-matcher.match", 1, ["a", "b"], {}),
    ("reasoning", {"images": [URI, URI], "statement": "both"}, "dummy-reasoning.reasoning", 2, ["both"], {}),
]


def infer(pictures: int, texts: list[str], options: dict[str, Any]) -> dict[str, Any]:
    raw = (len(PICTURE).to_bytes(4, "little") + PICTURE) * pictures
    inputs: list[dict[str, Any]] = [
        {"name": "image", "datatype": "BYTES", "shape": [pictures], "parameters": {"binary_data_size": len(raw)}}
    ]
    if texts:
        inputs.append({"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": texts})
    if options:
        inputs.append({"name": "options", "datatype": "BYTES", "shape": [1], "data": [json.dumps(options)]})
    head = json.dumps({"inputs": inputs}).encode()
    return {"content": head + raw, "headers": {"Inference-Header-Content-Length": str(len(head))}}


@pytest.mark.parametrize(
    ("task", "plain", "model", "pictures", "texts", "options"), ASKED, ids=[one[0] for one in ASKED]
)
async def test_a_task_costs_what_it_costs(
    task: str,
    plain: dict[str, Any],
    model: str,
    pictures: int,
    texts: list[str],
    options: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        async with open_dummies(*NAMES, config=CONFIG) as door:
            first = await door.post(f"/v1/{task}", json=plain)
            second = await door.post(f"/v2/models/{model}/infer", **infer(pictures, texts, options))
    assert (first.status_code, second.status_code) == (200, 200), (first.text, second.text)
    left = [float(response.headers["ratelimit-remaining"]) for response in (first, second)]
    assert FULL - left[0] == left[0] - left[1] > 10
    lines = [record.__dict__["fields"] for record in caplog.records if record.name == "vlpserve.access"]
    assert [line["task"] for line in lines] == [task, task]
    assert lines[0].get("questions") == lines[1].get("questions")


async def test_a_graph_costs_its_bytes_however_they_are_sent() -> None:
    inputs = [
        {"name": "patches", "datatype": "UINT8", "shape": [1, 1, 3], "data": [1, 2, 3]},
        {"name": "grid", "datatype": "INT32", "shape": [1, 2], "data": [1, 1]},
        {"name": "input_ids", "datatype": "INT32", "shape": [1, 2], "data": [[4, 5]]},
        {"name": "text_mask", "datatype": "INT32", "shape": [1, 2], "data": [[1, 1]]},
    ]
    async with open_dummies("dummy", config=CONFIG) as door:
        answer = await door.post("/v2/models/dummy-fusion/infer", json={"inputs": inputs})
        wrong = await door.post("/v2/models/dummy-fusion/infer", json={"inputs": inputs[:1]})
    assert (answer.status_code, wrong.status_code) == (200, 400)
    assert answer.headers["ratelimit-remaining"] == f"{FULL - 11:.0f}"
    assert wrong.headers["ratelimit-remaining"] == f"{FULL - 21:.0f}"
