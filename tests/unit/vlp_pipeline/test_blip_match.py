from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from blip_manifests import CAT, CLS, DIMENSION, ENC, HEAD, PAD, RED, SEP, TRUTH, blip_deployment, write_blip_assets
from vlp_pipeline.blip_match import BlipMatchPipeline
from vlp_pipeline.pipeline import PreparedImage
from vlp_pipeline.registry import build_pipeline
from vlp_spec.errors import ArtifactError, InferenceError, InvalidArgumentError
from vlp_spec.tasks import MatchResult

CROSS = {f"cross_{kind}_0": np.zeros((2, 5, 3), np.float32) for kind in ("key", "value")}
LOGITS = np.array([[1.0, 3.0], [0.5, -1.5]], np.float32)


@pytest.fixture
def pipeline(tmp_path: Path) -> BlipMatchPipeline:
    built = build_pipeline(blip_deployment("match"), write_blip_assets(tmp_path))
    assert isinstance(built, BlipMatchPipeline)
    return built


def test_a_text_begins_with_enc_where_it_is_read_with_the_picture_and_with_cls_alone(
    pipeline: BlipMatchPipeline,
) -> None:
    fusion = pipeline.fusion_item(CROSS, ["Red cat", "cat"])
    assert fusion.role == "fusion"
    assert fusion.arrays["question_ids"].tolist() == [[ENC, RED, CAT, SEP], [ENC, CAT, SEP, PAD]]
    text = pipeline.text_item("Red cat")
    assert (text.role, text.sizes) == ("text", {"text": 4})
    assert text.arrays["input_ids"].tolist() == [CLS, RED, CAT, SEP]
    batch = pipeline.collate([text, pipeline.text_item("cat")])
    assert batch["input_ids"].tolist() == [[CLS, RED, CAT, SEP], [CLS, CAT, SEP, PAD]]
    assert batch["text_mask"].tolist() == [[1] * 4, [1, 1, 1, 0]]


def test_a_vector_comes_from_the_picture_or_from_the_text(pipeline: BlipMatchPipeline) -> None:
    assert (pipeline.dimension, pipeline.logit_scale, pipeline.logit_bias, pipeline.scoring) == (
        *(DIMENSION, 20.0, 0.0),
        "softmax",
    )
    image = PreparedImage("0", {"pixels": np.zeros((8, 8, 3), np.uint8)}, {})
    assert pipeline.image_item(image).role == "vision"
    states = np.ones((5, 6), np.float32)
    vector = np.array([0.0, 3.0, 4.0, 0.0], np.float32)
    for outputs in ({"image_states": states, "image_embeds": vector}, {"text_embeds": vector}):
        np.testing.assert_allclose(pipeline.embedding(outputs), vector / 5)
    for broken in ({"image_states": states}, {"text_embeds": vector[:3]}, {"text_embeds": vector * np.nan}):
        with pytest.raises(InferenceError):
            pipeline.embedding(broken)


def test_a_score_is_the_itm_probability_and_pictures_are_ordered_by_logit_and_cosine(
    pipeline: BlipMatchPipeline,
) -> None:
    first, second = pipeline.results({"itm_logits": LOGITS}, [0.25, -0.5])
    probability = 1 / (1 + np.exp(-2.0))
    assert first == MatchResult(pytest.approx(probability), pytest.approx(probability), 0.25, 3.25)
    assert second == MatchResult(pytest.approx(1 - probability), pytest.approx(1 - probability), -0.5, -2.0)
    alone = pipeline.results({"itm_logits": LOGITS})
    assert [(result.itc, result.rank_score) for result in alone] == [(None, None)] * 2
    assert [result.score for result in alone] == [first.score, second.score]


def test_the_truth_is_where_the_manifest_says(tmp_path: Path) -> None:
    head = HEAD["match"] | {"labels": TRUTH[::-1]}
    pipeline = BlipMatchPipeline.from_deployment(blip_deployment("match", head=head), write_blip_assets(tmp_path))
    (result,) = pipeline.results({"itm_logits": LOGITS[:1]}, [0.0])
    assert result.rank_score == 1.0
    assert result.score < 0.5


@pytest.mark.parametrize("broken", [{}, {"itm_logits": LOGITS[:1]}, {"itm_logits": LOGITS * np.nan}])
def test_outputs_that_are_none_are_refused(pipeline: BlipMatchPipeline, broken: dict[str, np.ndarray]) -> None:
    with pytest.raises(InferenceError, match="itm_logits"):
        pipeline.results(broken, [0.1, 0.2])


@pytest.mark.parametrize("text", ["", " ", "\x00"])
def test_texts_that_say_nothing_are_refused(pipeline: BlipMatchPipeline, text: str) -> None:
    for use in (pipeline.check_match, pipeline.text_item, lambda text: pipeline.fusion_item(CROSS, ["cat", text])):
        with pytest.raises(InvalidArgumentError, match="^text: ") as caught:
            use(text)
        assert caught.value.field == "text"


def test_manifests_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    assets = write_blip_assets(tmp_path)
    for changed, fault in (
        ({"labels": ["no", "yes"]}, "expected two, one of them 'true'"),
        ({"dimension": 5}, r"deployment.head.dimension is 5, the graph 4"),
        ({"scoring": "rank"}, "scoring 'rank'"),
    ):
        with pytest.raises(ArtifactError, match=fault):
            build_pipeline(blip_deployment("match", head=HEAD["match"] | changed), assets)
