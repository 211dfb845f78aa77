from __future__ import annotations

from typing import Any

import pytest
from vlp_pipeline.writing_settings import WritingSettings
from vlp_spec.errors import ArtifactError
from vlp_spec.tasks import Decoding

HEAD = {"max_tokens": 16, "min_tokens": 1, "num_beams": 3, "length_penalty": 1, "repetition_penalty": 1.1}


def test_a_manifest_says_how_a_model_writes() -> None:
    settings = WritingSettings.from_mapping(HEAD | {"prompt": "a picture of "})
    assert settings == WritingSettings(16, 1, 3, 1.0, 1.1, "a picture of ")
    assert WritingSettings.from_mapping({"max_tokens": 5}) == WritingSettings(5, 0, 1, 1.0, 1.0, "")


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"max_tokens": 0}, "deployment.head: max_tokens: got 0, expected 1 to 512"),
        ({"max_tokens": 3, "min_tokens": 4}, "min_tokens: got 4"),
        ({"num_beams": 1000}, "num_beams: got 1000"),
        ({"repetition_penalty": 0.0}, "repetition_penalty 0.0, expected above 0"),
        ({"num_beams": 2.0}, r"deployment.head.num_beams: got 2.0, expected int"),
        ({"beams": 3}, "unknown key beams"),
    ],
)
def test_what_no_model_can_do_is_refused(changed: dict[str, Any], fault: str) -> None:
    with pytest.raises(ArtifactError, match=fault):
        WritingSettings.from_mapping(HEAD | changed)


def test_a_request_goes_before_the_model() -> None:
    settings = WritingSettings.from_mapping(HEAD)
    plan = settings.plan(Decoding(num_beams=1, max_tokens=4), num_texts=1, room=20, end_id=3, pad_id=0)
    assert (plan.max_tokens, plan.min_tokens, plan.num_beams, plan.repetition_penalty) == (4, 1, 1, 1.1)
    plan = settings.plan(Decoding(), num_texts=2, room=5, end_id=3, pad_id=0)
    assert (plan.max_tokens, plan.num_beams, plan.num_texts, plan.end_id) == (5, 3, 2, 3)
