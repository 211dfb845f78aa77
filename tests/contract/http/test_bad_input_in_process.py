from __future__ import annotations

import httpx
import pictures_made as pictures
import pytest
from bad_inputs import CASE_NAMES, CASES, QUESTION, Case, check_reply


@pytest.mark.parametrize("case", CASES, ids=CASE_NAMES)
async def test_each_bad_input_has_its_answer_and_the_next_request_works(
    dummy_door: httpx.AsyncClient, case: Case
) -> None:
    response = await dummy_door.post("/v1/vqa", files={"image": ("picture", case.picture)}, data=case.fields)
    check_reply(case, response)

    after = await dummy_door.post("/v1/vqa", files={"image": pictures.jpeg()}, data=QUESTION)
    assert after.status_code == 200


async def test_a_picture_turned_by_exif_gives_the_answers_of_the_upright_one(dummy_door: httpx.AsyncClient) -> None:
    turned = await dummy_door.post("/v1/vqa", files={"image": pictures.exif_rotated()}, data=QUESTION)
    upright = await dummy_door.post("/v1/vqa", files={"image": pictures.png()}, data=QUESTION)
    assert turned.json()["answers"] == upright.json()["answers"]


async def test_one_failing_question_is_told_and_hurts_nobody_else(dummy_door: httpx.AsyncClient) -> None:
    failed = await dummy_door.post("/v1/vqa", files={"image": pictures.jpeg()}, data={"question": "why [nan] ?"})
    assert (failed.status_code, failed.json()["kind"]) == (500, "inference_failed")
    after = await dummy_door.post("/v1/vqa", files={"image": pictures.jpeg()}, data=QUESTION)
    assert after.status_code == 200
