"""Bad pictures sent as JSON and as a raw body get what they get as a file; valid odd ones get the right answers."""

from __future__ import annotations

import base64
import io
from collections.abc import Awaitable, Callable

import httpx
import pictures_made as pictures
import pytest
from bad_inputs import CASES, QUESTION, Case, check_reply
from dummy_door import open_dummies
from PIL import Image

# Over the body's own limit there is nothing to be read in either way; test_errors_through_http covers that.
PICTURES = [case for case in CASES if case.fields == QUESTION and len(case.picture) < 20_000_000]
Send = Callable[[httpx.AsyncClient, bytes], Awaitable[httpx.Response]]
NAMES = [case.name for case in PICTURES]


async def send_json(door: httpx.AsyncClient, picture: bytes) -> httpx.Response:
    return await door.post("/v1/vqa", json={"image": base64.b64encode(picture).decode(), **QUESTION})


async def send_raw(door: httpx.AsyncClient, picture: bytes) -> httpx.Response:
    headers = {"Content-Type": "image/jpeg"}
    return await door.post("/v1/vqa", content=picture, params=QUESTION, headers=headers)


@pytest.mark.parametrize("send", [send_json, send_raw])
@pytest.mark.parametrize("case", PICTURES, ids=NAMES)
async def test_a_picture_is_judged_alike_however_it_comes(
    send: Send, case: Case, dummy_door: httpx.AsyncClient
) -> None:
    check_reply(case, await send(dummy_door, case.picture))
    assert (await send(dummy_door, pictures.jpeg())).status_code == 200


CALLS = {
    "entailment": (["?"], {"hypothesis": "a"}),
    "grounding": (["?"], {"phrase": "a"}),
    "regions": (["?"], {}),
    "caption": (["?"], {}),
    "caption, streamed": (["?"], {"stream": "true"}),
    "reasoning, left": (["?", "good"], {"statement": "a"}),
    "reasoning, right": (["good", "?"], {"statement": "a"}),
}


@pytest.mark.parametrize("call", CALLS)
async def test_every_task_judges_a_picture_as_questions_do(call: str) -> None:
    sides, fields = CALLS[call]
    names = ("dummy-entailment", "dummy-grounding", "dummy-extractor", "dummy-reasoning", "dummy-captioner")
    async with open_dummies(*names) as door:
        for case in PICTURES:
            sent = [("image", ("a", case.picture if side == "?" else pictures.jpeg())) for side in sides]
            response = await door.post(f"/v1/{call.partition(',')[0]}", files=sent, data=fields)
            kind = None if response.is_success else response.json()["kind"]
            assert (response.status_code, kind) == (case.status, case.kind), case.name


def first_frame(data: bytes) -> bytes:
    return pictures.encode(Image.open(io.BytesIO(data)).convert("RGB"), "PNG")


@pytest.mark.parametrize("data", [pictures.animated(), pictures.cmyk()], ids=["animated", "CMYK"])
async def test_an_odd_picture_is_seen_as_its_first_frame_in_rgb(data: bytes, dummy_door: httpx.AsyncClient) -> None:
    odd, plain = await send_raw(dummy_door, data), await send_raw(dummy_door, first_frame(data))
    assert odd.json() == plain.json()
    assert odd.json()["answers"]


async def test_sixteen_bits_are_scaled_and_not_cut_off(dummy_door: httpx.AsyncClient) -> None:
    levels = [index * 16 for index in range(64 * 64)]
    grey = Image.new("L", (64, 64))
    # 65535 becomes 255: 257 levels of sixteen bits make one of eight.
    grey.putdata([round(level / 257) for level in levels])
    clipped = Image.new("L", (64, 64))
    clipped.putdata([min(level, 255) for level in levels])
    odd, right, wrong = [
        (await send_raw(dummy_door, data)).json()
        for data in (pictures.sixteen_bit(), pictures.encode(grey, "PNG"), pictures.encode(clipped, "PNG"))
    ]
    assert odd == right
    assert odd != wrong
