"""What callers send by mistake or on purpose in place of a picture, over the dummy engine; each fault has its name."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import numpy as np
import pictures_made as pictures
import pytest
import region_files as files
from dummy_door import open_dummies
from vlp_server.config import LimitsConfig, ServerConfig

PICTURE = pictures.jpeg()
READERS = ("dummy", "dummy-entailment", "dummy-extractor", "dummy-reader", "dummy-reader-reasoning")
TASKS = {
    "vqa": {"question": "a?", "model": "dummy-reader"},
    "reasoning": {"statement": "a", "model": "dummy-reader-reasoning"},
}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def door() -> AsyncIterator[httpx.AsyncClient]:
    async with open_dummies(*READERS) as client:
        yield client


def zipped(content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("features.npy", content)
    return target.getvalue()


def nan_at(row: int, value: float = np.nan) -> np.ndarray:
    features = files.FEATURES.copy()
    features[row, 0] = value
    return features


BAD_FILES: dict[str, tuple[bytes | Callable[[], bytes], int, str]] = {
    "an empty file": (b"", 400, "not an .npz file"),
    "a picture": (PICTURE, 400, "not an .npz file"),
    "a zip of something else": (zipped(b"hello"), 400, "no array 'boxes'"),
    "a file that was cut off": (files.npz()[:-30], 400, "not an .npz file"),
    "boxes without features": (files.npz(features=None), 400, "no array 'features'"),
    "features without boxes": (files.npz(boxes=None), 400, "no array 'boxes'"),
    "objects": (files.npz(features=np.full((3, 8), None)), 400, "Python objects; such arrays are never opened"),
    "objects as scores": (files.npz(scores=np.array([None] * 3)), 400, "Python objects"),
    "features of the wrong width": (files.npz(features=np.ones((3, 9))), 400, "expected (regions, 8)"),
    "NaN": (files.npz(features=nan_at(1)), 400, "features: region 1 has NaN"),
    "infinity": (files.npz(features=nan_at(2, np.inf)), 400, "features: region 2 has NaN or a number"),
    "NaN in a box": (files.npz(boxes=files.BOXES * np.nan), 400, "boxes: region 0 has NaN"),
    "boxes in pixels": (files.npz(boxes=files.BOXES * 640), 400, "expected shares of width and height"),
    "an inverted box": (files.npz(boxes=files.BOXES[:, [2, 3, 0, 1]]), 400, "expected x0 < x1"),
    "an empty box": (files.npz(boxes=np.zeros((3, 4))), 400, "expected x0 < x1"),
    "no region": (files.npz({name: array[:0] for name, array in files.ARRAYS.items()}), 400, "0 regions"),
    "other lengths": (files.npz(features=files.FEATURES[:2]), 400, "arrays of different lengths"),
    "a score of 7": (files.npz(scores=np.full(3, 7.0)), 400, "scores: region 0 has 7"),
    "10 000 regions": (files.npz(files.many(10_000)), 413, "10000 regions, at most 100"),
    "a zip bomb": (files.bomb, 413, "at most 16777216"),
    "over 16 MiB": (lambda: bytes(17 * 1024 * 1024), 413, "a file of 17825792 bytes"),
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.parametrize("task", TASKS)
async def test_a_bad_file_is_refused_in_words_and_the_next_one_is_read(
    task: str, name: str, door: httpx.AsyncClient
) -> None:
    content, status, words = BAD_FILES[name]
    good = [files.npz()] if task == "reasoning" else []
    response = await post_files(door, task, [*good, content() if callable(content) else content])
    problem = response.json()
    assert response.status_code == status, problem
    assert problem["kind"] == ("too_large" if status == 413 else "invalid_argument")
    assert words in problem["detail"]
    if status == 400 and "wrong width" not in name:
        assert problem["field"] == ("regions[1]" if task == "reasoning" else "regions")
    assert (await post_files(door, task, [*good, files.npz()])).status_code == 200


async def post_files(door: httpx.AsyncClient, task: str, contents: list[bytes]) -> httpx.Response:
    sent = [("regions", ("a.npz", content)) for content in contents]
    return await door.post(f"/v1/{task}", files=sent, data=TASKS[task])


BAD_VALUES: dict[str, tuple[Any, int, str]] = {
    "a number": (3, 400, "got int, expected an object"),
    "a list": ([], 400, "got list, expected an object"),
    "no base64": ("***", 400, "text that is not base64 of an .npz file"),
    "base64 of something else": (base64.b64encode(PICTURE).decode(), 400, "not an .npz file"),
    "an empty text": ("", 400, "not an .npz file"),
    "base64 of a bomb": (lambda: base64.b64encode(files.bomb()).decode(), 413, "at most 16777216"),
    "an empty object": ({}, 400, "no boxes"),
    "boxes without features": (files.as_json(features=None), 400, "no features"),
    "features without boxes": (files.as_json(boxes=None), 400, "no boxes"),
    "an unknown key": (files.as_json(labels=["a"]), 400, "unknown key 'labels'"),
    "features of the wrong width": (files.as_json(features=[[1.0] * 9] * 3), 400, "expected (regions, 8)"),
    "too large for float32": (files.as_json(features=[[1e39] * 8] * 3), 400, "features: region 0 has"),
    "uneven features": (files.as_json(features=[[1.0] * 8, [1.0] * 8, [1.0]]), 400, "row 2 has 1 numbers"),
    "text as numbers": (files.as_json(boxes=[["0", "0", "1", "1"]] * 3), 400, "got str, expected numbers"),
    "an inverted box": (files.as_json(boxes=[[0.5, 0, 0.1, 1]] * 3), 400, "expected x0 < x1"),
    "a box outside": (files.as_json(boxes=[[0, 0, 64, 64]] * 3), 400, "expected shares"),
    "pixels without a size": (files.as_json(box_format="pixels"), 400, "width: expected the picture's"),
    "no region": ({"boxes": [], "features": []}, 400, "0 regions"),
    "10 000 regions": (files.as_json(boxes=[[0, 0, 1, 1]] * 10_000), 413, "10000 regions, at most 100"),
}


@pytest.mark.parametrize("name", BAD_VALUES)
@pytest.mark.parametrize("task", TASKS)
async def test_a_bad_json_value_is_refused_in_words(task: str, name: str, door: httpx.AsyncClient) -> None:
    value, status, words = BAD_VALUES[name]
    value = value() if callable(value) else value
    regions = [files.as_json(), value] if task == "reasoning" else value
    response = await door.post(f"/v1/{task}", json={"regions": regions, **TASKS[task]})
    problem = response.json()
    assert (response.status_code, words in problem["detail"]) == (status, True), problem
    if status == 400 and "wrong width" not in name:
        assert problem["field"] == ("regions[1]" if task == "reasoning" else "regions")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
async def test_what_is_no_json_number_is_refused(number: str, door: httpx.AsyncClient) -> None:
    body = json.dumps({"regions": files.as_json(features=[[1.0]]), **TASKS["vqa"]}).replace("1.0", number)
    response = await door.post("/v1/vqa", content=body, headers=JSON)
    assert (response.status_code, response.json()["kind"]) == (400, "invalid_argument")


def image_file(name: str = "image") -> tuple[str, tuple[str, bytes]]:
    return name, ("a", PICTURE)


def regions_file() -> tuple[str, tuple[str, bytes]]:
    return "regions", ("a.npz", files.npz())


BASE64 = base64.b64encode(PICTURE).decode()
STATEMENT = {"statement": "a"}
HYPOTHESIS = {"hypothesis": "a"}


@pytest.mark.parametrize(
    ("path", "call", "status", "field"),
    [
        ("entailment", {"files": [image_file(), regions_file()], "data": HYPOTHESIS}, 400, "regions"),
        ("entailment", {"json": {"image": BASE64, "regions": files.as_json(), **HYPOTHESIS}}, 400, "regions"),
        ("entailment", {"files": [regions_file(), regions_file()], "data": HYPOTHESIS}, 400, "regions"),
        ("entailment", {"files": [image_file(), image_file()], "data": HYPOTHESIS}, 400, "image"),
        ("entailment", {"data": HYPOTHESIS, "files": [("other", b"x")]}, 400, "image"),
        ("entailment", {"json": HYPOTHESIS}, 400, "image"),
        ("entailment", {"json": {"regions": None, **HYPOTHESIS}}, 400, "image"),
        ("entailment", {"json": {"images": [BASE64], **HYPOTHESIS}}, 400, "images"),
        ("entailment", {"files": [image_file()], "data": {"regions": "x", **HYPOTHESIS}}, 400, "regions"),
        ("entailment", {"files": [image_file()], "data": {"hypothesis": " "}}, 400, "hypothesis"),
        ("entailment", {"files": [image_file()], "data": {"hypotheses": '["a", " "]'}}, 400, "hypotheses[1]"),
        ("entailment", {"json": {"image": BASE64, "hypotheses": []}}, 400, "hypotheses"),
        ("entailment", {"files": [image_file()], "data": {}}, 400, "hypothesis"),
        ("entailment", {"files": [image_file()], "data": {"question": "a?", **HYPOTHESIS}}, 400, "question"),
        ("entailment", {"json": {"image": BASE64, "hypothesis": "a", "hypotheses": ["b"]}}, 400, "hypotheses"),
        ("entailment", {"json": {"image": BASE64, "hypothesis": 3}}, 400, "hypothesis"),
        ("entailment", {"json": {"image": BASE64, "hypotheses": ["a"] * 65}}, 413, None),
        ("entailment", {"json": {"image": BASE64, "hypothesis": "a" * 4097}}, 413, None),
        ("entailment", {"json": {"image": BASE64, "hypothesis": "a", "model": "nobody"}}, 404, None),
        ("entailment", {"json": {"image": BASE64, "hypothesis": "a", "model": "dummy"}}, 400, None),
        ("reasoning", {"files": [image_file()], "data": STATEMENT}, 400, "image"),
        ("reasoning", {"files": [image_file()] * 3, "data": STATEMENT}, 400, "image"),
        ("reasoning", {"files": [image_file(), regions_file()], "data": STATEMENT}, 400, "regions"),
        ("reasoning", {"files": [regions_file()], "data": STATEMENT}, 400, "regions"),
        ("reasoning", {"files": [regions_file()] * 3, "data": STATEMENT}, 400, "regions"),
        ("reasoning", {"json": {"images": [BASE64], **STATEMENT}}, 400, "images"),
        ("reasoning", {"json": {"images": [BASE64] * 3, **STATEMENT}}, 400, "images"),
        ("reasoning", {"json": {"images": [], **STATEMENT}}, 400, "images"),
        ("reasoning", {"json": {"images": BASE64, **STATEMENT}}, 400, "images"),
        ("reasoning", {"json": {"image": BASE64, **STATEMENT}}, 400, "image"),
        ("reasoning", {"json": {"images": [BASE64, "***"], **STATEMENT}}, 400, "images[1]"),
        ("reasoning", {"json": {"images": [BASE64, ""], **STATEMENT}}, 422, None),
        ("reasoning", {"json": {"regions": [files.as_json()], **STATEMENT}}, 400, "regions"),
        ("reasoning", {"json": {"regions": files.as_json(), **STATEMENT}}, 400, "regions"),
        (
            "reasoning",
            {"json": {"images": [BASE64] * 2, "regions": [files.as_json()] * 2, **STATEMENT}},
            400,
            "regions",
        ),
        ("reasoning", {"json": {"images": [BASE64] * 2, "statement": ""}}, 400, "statement"),
        ("reasoning", {"json": {"images": [BASE64] * 2, "statements": ["a", " "]}}, 400, "statements[1]"),
        ("grounding", {"json": {"image": BASE64, "phrase": " "}}, 400, "phrase"),
        ("grounding", {"json": {"image": BASE64, "phrase": "a", "top_k": 0}}, 400, "top_k"),
        ("grounding", {"json": {"image": BASE64, "phrases": ["a"], "top_k": 101}}, 400, "top_k"),
        ("grounding", {"files": [image_file()], "data": {"phrase": "a", "top_k": "many"}}, 400, "top_k"),
        ("regions", {"files": [regions_file()], "data": {}}, 400, "image"),
        ("regions", {"json": {"image": BASE64, "regions": files.as_json()}}, 400, "regions"),
        ("regions", {"json": {"image": BASE64, "features": "true"}}, 400, "features"),
        ("regions", {"files": [image_file()], "data": {"features": "maybe"}}, 400, "features"),
        ("regions", {"json": {"image": base64.b64encode(b"no picture").decode()}}, 422, None),
        ("classify", {"files": [regions_file()], "data": {"labels": "a"}}, 400, "image"),
        ("classify", {"json": {"regions": files.as_json(), "labels": ["a"]}}, 400, "image"),
        ("match", {"files": [image_file(), regions_file()], "data": {"text": "a"}}, 400, "regions"),
        ("vqa", {"content": PICTURE, "params": {"question": "a?", "regions": "x"}}, 400, "regions"),
    ],
)
async def test_faults_name_their_field(
    path: str, call: Any, status: int, field: str | None, door: httpx.AsyncClient
) -> None:
    headers = {"Content-Type": "image/jpeg"} if "content" in call else {}
    response = await door.post(f"/v1/{path}", headers=headers, **call)
    assert (response.status_code, response.json().get("field")) == (status, field), response.text
    assert response.headers["content-type"] == "application/problem+json"


async def test_regions_are_not_for_a_model_that_reads_pictures(door: httpx.AsyncClient) -> None:
    response = await post_files_to(door, "entailment", {"hypothesis": "a"})
    problem = response.json()
    assert (response.status_code, problem["kind"], problem["field"]) == (400, "invalid_argument", "regions")
    assert "'dummy-entailment@1' reads pictures, not regions" in problem["detail"]


async def post_files_to(door: httpx.AsyncClient, task: str, fields: dict[str, str]) -> httpx.Response:
    return await door.post(f"/v1/{task}", files=[regions_file()], data=fields)


@pytest.mark.parametrize(
    ("model", "path", "count", "fields"),
    [
        ("dummy-reader", "vqa", 1, {"question": "a?"}),
        ("dummy-reader-matcher", "match", 1, {"text": "a"}),
        ("dummy-reader-entailment", "entailment", 1, {"hypothesis": "a"}),
        ("dummy-reader-grounding", "grounding", 1, {"phrase": "a"}),
        ("dummy-reader-reasoning", "reasoning", 2, {"statement": "a"}),
    ],
)
async def test_without_its_extractor_a_region_model_takes_regions_alone(
    model: str, path: str, count: int, fields: dict[str, str]
) -> None:
    async with open_dummies(model) as client:
        refused = await client.post(f"/v1/{path}", files=[image_file()] * count, data=fields)
        answered = await client.post(f"/v1/{path}", files=[regions_file()] * count, data=fields)
    assert (refused.status_code, refused.json()["kind"]) == (409, "no_extractor")
    assert "dummy-extractor" in refused.json()["detail"]
    assert answered.status_code == 200, answered.text


async def test_how_many_regions_are_taken_can_be_set() -> None:
    async with open_dummies("dummy-reader", config=ServerConfig(limits=LimitsConfig(regions=101))) as client:
        statuses = {}
        for count in (100, 101, 102):
            sent = {"regions": ("a.npz", files.npz(files.many(count)))}
            response = await client.post("/v1/vqa", files=sent, data={"question": "a?"})
            statuses[count] = (response.status_code, response.json().get("detail", ""))
        limits = (await client.get("/v1/models")).json()["request_limits"]
    assert statuses[100][0] == 200
    # The model's own limit, and the server's.
    assert statuses[101] == (413, "regions: 101 regions, at most 100 are accepted")
    assert statuses[102] == (413, "regions: 102 regions, at most 101 are accepted")
    assert limits["regions"] == 101
