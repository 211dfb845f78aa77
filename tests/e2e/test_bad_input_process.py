from __future__ import annotations

import httpx
import pictures_made as pictures
import pytest
from bad_inputs import CASE_NAMES, CASES, QUESTION, Case, check_reply
from server_process import ServerProcess


@pytest.mark.parametrize("case", CASES, ids=CASE_NAMES)
def test_each_bad_input_has_its_answer_and_the_next_request_works(dummy_server: ServerProcess, case: Case) -> None:
    with httpx.Client(base_url=dummy_server.url, timeout=30, trust_env=False) as client:
        response = client.post("/v1/vqa", files={"image": ("picture", case.picture)}, data=case.fields)
        check_reply(case, response)

        after = client.post("/v1/vqa", files={"image": pictures.jpeg()}, data=QUESTION)
        assert after.status_code == 200
