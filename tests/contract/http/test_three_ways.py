from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest
from vlp_server.config.settings import CoreConfig
from vlp_spec.tasks import VqaQuery

PICTURE = b"\x89 not looked at by the door"
BASE64 = base64.b64encode(PICTURE).decode()
ONE = {"model": "scripted@1", "answers": [{"answer": "red", "score": 0.75}, {"answer": "blue", "score": 0.25}]}


def as_form(fields: dict[str, Any]) -> dict[str, Any]:
    return {"files": {"image": ("a.jpg", PICTURE)}, "data": fields}


def as_json(fields: dict[str, Any]) -> dict[str, Any]:
    return {"json": {"image": BASE64, **fields}}


def as_raw(fields: dict[str, Any]) -> dict[str, Any]:
    return {"content": PICTURE, "params": fields, "headers": {"Content-Type": "image/png"}}


WAYS = pytest.mark.parametrize("way", [as_form, as_json, as_raw])


@WAYS
async def test_one_question_gives_its_answers(way: Any, door: httpx.AsyncClient, scripted: Any) -> None:
    response = await door.post("/v1/vqa", **way({"question": "what?"}))
    assert (response.status_code, response.json()) == (200, ONE)
    assert scripted.calls[0]["image"] == PICTURE
    assert scripted.calls[0]["queries"] == [VqaQuery("what?", 5)]
    assert (scripted.calls[0]["model"], scripted.calls[0]["deadline"]) == (None, None)


@WAYS
async def test_all_fields_arrive(way: Any, door: httpx.AsyncClient, scripted: Any) -> None:
    fields = {"questions": ["a?", "b?"], "top_k": 2, "answers": ["red", "blue"], "model": "scripted@1"}
    response = await door.post("/v1/vqa", **way(fields))
    assert [item["question"] for item in response.json()["results"]] == ["a?", "b?"]
    assert response.json()["results"][1]["answers"] == ONE["answers"]
    assert scripted.calls[0]["queries"] == [VqaQuery("a?", 2, ("red", "blue")), VqaQuery("b?", 2, ("red", "blue"))]
    assert scripted.calls[0]["model"] == "scripted@1"


@pytest.mark.parametrize("way", [as_form, as_raw])
async def test_lists_may_be_json_or_a_repeated_question(way: Any, door: httpx.AsyncClient, scripted: Any) -> None:
    await door.post("/v1/vqa", **way({"questions": json.dumps(["a?", "b?"]), "answers": '["x"]'}))
    await door.post("/v1/vqa", **way({"question": ["a?", "b?"], "answers": "x"}))
    assert (
        scripted.calls[0]["queries"] == scripted.calls[1]["queries"] == [VqaQuery(q, 5, ("x",)) for q in ("a?", "b?")]
    )


@WAYS
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"question": "a?", "questions": ["b?"]}, "questions"),
        ({"questions": ["a?", " "]}, "questions[1]"),
        ({"question": "a?", "top_k": 101}, "top_k"),
        ({"question": "a?", "answers": ["x", "x"]}, "answers"),
        ({"question": "a?", "model": " "}, "model"),
        ({"question": "a?", "hypothesis": "b"}, "hypothesis"),
        ({}, "question"),
    ],
)
async def test_faults_name_their_field(way: Any, fields: Any, field: str, door: httpx.AsyncClient) -> None:
    response = await door.post("/v1/vqa", **way(fields))
    assert (response.status_code, response.json()["kind"]) == (400, "invalid_argument")
    assert response.json()["field"] == field


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("data:image/png;base64," + BASE64, PICTURE),
        ("data:;base64," + BASE64, PICTURE),
        ("data:image/png,%41%42", b"AB"),
        (BASE64[:8] + "\n" + BASE64[8:], PICTURE),
    ],
)
async def test_forms_of_a_picture_in_json(image: str, expected: bytes, door: httpx.AsyncClient, scripted: Any) -> None:
    response = await door.post("/v1/vqa", json={"image": image, "question": "what?"})
    assert response.status_code == 200
    assert scripted.calls[0]["image"] == expected


@pytest.mark.parametrize(
    ("body", "status", "kind", "field"),
    [
        ('{"image": "***", "question": "a?"}', 400, "invalid_argument", "image"),
        ('{"image": "data:image/png;base64", "question": "a?"}', 400, "invalid_argument", "image"),
        ('{"image": "data:text/html;base64,QQ==", "question": "a?"}', 415, "unsupported_media_type", None),
        ('{"image": "https://example.org/a.jpg", "question": "a?"}', 400, "invalid_argument", "image"),
        ('{"image": "", "question": "a?"}', 422, "invalid_image", None),
        ('{"question": "a?"}', 400, "invalid_argument", "image"),
        ('{"image": "QQ==", "question": 3}', 400, "invalid_argument", "question"),
        ('{"image": "QQ==", "question": "a?", "top_k": "5"}', 400, "invalid_argument", "top_k"),
        ('{"image": "QQ==", "question": "a?", "top_k": true}', 400, "invalid_argument", "top_k"),
        ('{"image": "QQ==", "question": "a?", "question": "b?"}', 400, "invalid_argument", None),
        ('{"image": "QQ==", "question": "\\ud800"}', 400, "invalid_argument", "question"),
        ('{"image": "QQ==", "top_k": NaN}', 400, "invalid_argument", None),
        ("[1, 2]", 400, "invalid_argument", None),
        ("{", 400, "invalid_argument", None),
        ("[" * 100_000, 400, "invalid_argument", None),
        ("", 400, "invalid_argument", None),
    ],
)
async def test_bad_json(
    body: str, status: int, kind: str, field: str | None, door: httpx.AsyncClient, scripted: Any
) -> None:
    response = await door.post("/v1/vqa", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["kind"]) == (status, kind), response.json()
    assert response.json().get("field") == field
    assert scripted.calls == []


def part(name: str, content: str = "x", extra: str = "") -> str:
    return f'--B\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n{content}\r\n'


IMAGE_PART = part("image", extra='; filename="a"')


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (IMAGE_PART + part("question", "a?") + "--B--\r\n", 200),
        (IMAGE_PART + part("question", "a?"), 400),
        (IMAGE_PART[:30], 400),
        ("nothing of the kind", 400),
        ("", 400),
        (part("question", "a?") + "--B--\r\n", 400),
        (part("image") + part("question", "a?") + "--B--\r\n", 400),
        (IMAGE_PART * 2 + part("question", "a?") + "--B--\r\n", 400),
        (IMAGE_PART + part("top_k", "1") * 2 + part("question", "a?") + "--B--\r\n", 400),
        (IMAGE_PART + part("n" * 65, "a?") + "--B--\r\n", 400),
        ("--B\r\nContent-Type: text/plain\r\n\r\nx\r\n--B--\r\n", 400),
        (IMAGE_PART + part("answers", "[1") + "--B--\r\n", 400),
        (IMAGE_PART + part("question", "a" * 1_100_000) + "--B--\r\n", 413),
        (part("question", "a?") * 1101 + "--B--\r\n", 413),
    ],
)
async def test_multipart_bodies(body: str, status: int, door: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    response = await door.post("/v1/vqa", content=body, headers=headers)
    assert response.status_code == status, response.text


async def test_text_that_is_not_utf8_is_refused(door: httpx.AsyncClient) -> None:
    response = await door.post("/v1/vqa", files={"image": PICTURE}, data={"question": b"\xff\xfe"})
    assert (response.status_code, response.json()["field"]) == (400, "question")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
async def test_other_content_types_are_refused(content_type: str | None, door: httpx.AsyncClient) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    response = await door.post("/v1/vqa", content=b"x", headers=headers)
    assert (response.status_code, response.json()["kind"]) == (415, "unsupported_media_type")


async def test_multipart_without_a_boundary_is_refused(door: httpx.AsyncClient) -> None:
    response = await door.post("/v1/vqa", content=b"x", headers={"Content-Type": "multipart/form-data"})
    assert (response.status_code, response.json()["kind"]) == (400, "invalid_argument")


async def test_fields_in_the_query_are_not_forgotten_silently(door: httpx.AsyncClient) -> None:
    response = await door.post("/v1/vqa?top_k=2", files={"image": PICTURE}, data={"question": "a?"})
    assert (response.status_code, response.json()["field"]) == (400, "top_k")


async def test_a_large_json_picture_arrives(door: httpx.AsyncClient, scripted: Any) -> None:
    picture = bytes(range(256)) * 1000
    response = await door.post("/v1/vqa", json={"image": base64.b64encode(picture).decode(), "question": "a?"})
    assert response.status_code == 200
    assert scripted.calls[0]["image"] == picture


@pytest.mark.parametrize("line_chars", [0, 76])
async def test_the_largest_picture_fits_into_json_too(line_chars: int, door: httpx.AsyncClient, scripted: Any) -> None:
    picture = bytes(CoreConfig().max_image_bytes)
    text = base64.encodebytes(picture).decode() if line_chars else base64.b64encode(picture).decode()
    response = await door.post("/v1/vqa", json={"image": "data:image/png;base64," + text, "question": "a" * 4096})
    assert response.status_code == 200
    assert scripted.calls[0]["image"] == picture
