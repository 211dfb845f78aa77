from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from blip_manifests import CAT, ENC, PAD, SEP, TWO, blip_deployment, write_blip_assets
from vlp_pipeline.blip_reasoning import BlipReasoningPipeline
from vlp_pipeline.registry import build_pipeline
from vlp_spec.errors import InferenceError, InvalidArgumentError
from vlp_spec.tasks import ReasoningQuery


@pytest.fixture
def pipeline(tmp_path: Path) -> BlipReasoningPipeline:
    built = build_pipeline(blip_deployment("reasoning"), write_blip_assets(tmp_path))
    assert isinstance(built, BlipReasoningPipeline)
    return built


def test_a_statement_is_read_with_both_pictures_states(pipeline: BlipReasoningPipeline) -> None:
    left, right = ({"image_states": np.full((5, 6), value, np.float32)} for value in (1.0, 2.0))
    items = [pipeline.pair_item(left, right, ReasoningQuery(text)) for text in ("two cat", "cat")]
    assert {(item.role, item.sizes["text"]) for item in items} == {("pair", 4), ("pair", 3)}
    batch = pipeline.collate(items)
    assert batch["input_ids"].tolist() == [[ENC, TWO, CAT, SEP], [ENC, CAT, SEP, PAD]]
    assert batch["text_mask"].sum(axis=1).tolist() == [4, 3]
    assert (batch["left_states"] == 1).all()
    assert (batch["right_states"] == 2).all()
    assert batch["left_states"].shape == (2, 5, 6)


def test_the_second_number_says_true(pipeline: BlipReasoningPipeline) -> None:
    query = ReasoningQuery("cat")
    result = pipeline.result(query, {"reasoning_logits": np.array([1.0, 3.0], np.float32)})
    assert (result.label, result.score) == (True, pytest.approx(1 / (1 + np.exp(-2.0))))
    with pytest.raises(InferenceError):
        pipeline.result(query, {"reasoning_logits": np.array([np.nan, 3.0], np.float32)})


def test_a_statement_that_says_nothing_is_refused(pipeline: BlipReasoningPipeline) -> None:
    with pytest.raises(InvalidArgumentError, match="^statement: holds no readable") as caught:
        pipeline.check(ReasoningQuery("\x00"))
    assert caught.value.field == "statement"
    pipeline.check(ReasoningQuery("two cats"))
