from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from blip_manifests import (
    CAT,
    DEC,
    ENC,
    HEADS,
    MAX_TEXT,
    PAD,
    POSITIONS,
    RED,
    SEP,
    TWO,
    WRITING,
    S,
    blip_deployment,
    write_blip_assets,
)
from vlp_pipeline.blip_vqa import BlipVqaPipeline
from vlp_pipeline.generation import GeneratedText
from vlp_pipeline.registry import build_pipeline
from vlp_spec.errors import InferenceError, InternalError, InvalidArgumentError, TooLargeError
from vlp_spec.tasks import ScoredAnswer, VqaQuery


@pytest.fixture
def pipeline(tmp_path: Path) -> BlipVqaPipeline:
    built = build_pipeline(blip_deployment("vqa"), write_blip_assets(tmp_path))
    assert isinstance(built, BlipVqaPipeline)
    return built


CROSS = {f"cross_{kind}_0": np.full((HEADS, 5, 3), 2.0, np.float32) for kind in ("key", "value")}


def test_questions_about_a_picture_lie_side_by_side_and_begin_with_enc(pipeline: BlipVqaPipeline) -> None:
    item = pipeline.question_item(CROSS, [VqaQuery("Red cats"), VqaQuery("two")])
    assert (item.role, item.sizes) == ("question", {"texts": 2, "text": 5})
    assert item.arrays["question_ids"].tolist() == [[ENC, RED, CAT, S, SEP], [ENC, TWO, SEP, PAD, PAD]]
    assert item.arrays["question_mask"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]
    assert item.arrays["looked_key_0"] is CROSS["cross_key_0"]
    assert item.arrays["question_ids"].dtype == item.arrays["question_mask"].dtype == np.int32


def test_a_long_question_loses_its_end(pipeline: BlipVqaPipeline) -> None:
    item = pipeline.question_item(CROSS, [VqaQuery("cat " * 30)])
    assert item.arrays["question_ids"].tolist() == [[ENC, *[CAT] * (MAX_TEXT - 2), SEP]]


def test_a_batch_is_padded_in_both_axes(pipeline: BlipVqaPipeline) -> None:
    one = pipeline.question_item(CROSS, [VqaQuery("red cat red cat")])
    two = pipeline.question_item(CROSS, [VqaQuery("cat"), VqaQuery("two")])
    batch = pipeline.collate([one, two])
    assert batch["question_ids"].tolist() == [
        [[ENC, RED, CAT, RED, CAT, SEP], [PAD] * 6],
        [[ENC, CAT, SEP, PAD, PAD, PAD], [ENC, TWO, SEP, PAD, PAD, PAD]],
    ]
    assert batch["question_mask"].sum(axis=2).tolist() == [[6, 0], [3, 3]]
    assert batch["looked_value_0"].shape == (2, HEADS, 5, 3)
    # The graph takes no fewer than 4.
    assert pipeline.collate([two])["question_ids"].shape == (1, 2, 4)


def test_the_decoder_looks_at_one_question_without_its_padding(pipeline: BlipVqaPipeline) -> None:
    queries = [VqaQuery("red cats"), VqaQuery("two")]
    keys = np.arange(2 * HEADS * 6 * 3, dtype=np.float32).reshape(2, HEADS, 6, 3)
    first, second = pipeline.looked_at({"question_key_0": keys, "question_value_0": -keys}, queries)
    np.testing.assert_array_equal(first.arrays["at_key_0"], keys[0, :, :5])
    np.testing.assert_array_equal(second.arrays["at_value_0"], -keys[1, :, :3])
    assert first.arrays["at_mask"].tolist() == [1] * 5
    assert second.arrays["at_mask"].tolist() == [1] * 3


def test_an_answer_begins_with_dec_and_ends_with_sep(pipeline: BlipVqaPipeline) -> None:
    query = VqaQuery("two", candidates=("Red cats", "two"))
    assert pipeline.begin(query).tolist() == [DEC]
    ids, lengths = pipeline.candidate_ids(query)
    assert ids.tolist() == [[DEC, RED, CAT, S, SEP], [DEC, TWO, SEP, PAD, PAD]]
    assert lengths.tolist() == [5, 3]
    assert ids.dtype == lengths.dtype == np.int32
    with pytest.raises(InternalError):
        pipeline.candidate_ids(VqaQuery("two"))


def test_as_many_answers_as_are_wanted_and_beams_hold(pipeline: BlipVqaPipeline) -> None:
    plan = pipeline.plan(VqaQuery("two"))
    assert (plan.num_texts, plan.num_beams, plan.max_tokens, plan.end_id) == (3, 3, WRITING["max_tokens"], SEP)
    assert pipeline.plan(VqaQuery("two", top_k=1)).num_texts == 1


def read(pipeline: BlipVqaPipeline, query: VqaQuery) -> None:
    """What a request goes through before its picture is looked at."""
    pipeline.check(query)
    if query.candidates is not None:
        pipeline.candidate_ids(query)


@pytest.mark.parametrize(
    ("query", "error", "field"),
    [
        (VqaQuery("\x00"), InvalidArgumentError, "question"),
        (VqaQuery("two", candidates=("red", "Red ")), InvalidArgumentError, "answers"),
        (VqaQuery("two", candidates=("red", "\x00")), InvalidArgumentError, "answers"),
        (VqaQuery("two", candidates=("red", " ")), InvalidArgumentError, "answers"),
    ],
)
def test_queries_that_cannot_be_answered(
    pipeline: BlipVqaPipeline, query: VqaQuery, error: type[InvalidArgumentError], field: str
) -> None:
    with pytest.raises(error, match=f"^{field}: ") as caught:
        read(pipeline, query)
    assert caught.value.field == field


def test_an_answer_of_more_tokens_than_positions_is_refused(pipeline: BlipVqaPipeline) -> None:
    read(pipeline, VqaQuery("two", candidates=("cat " * (POSITIONS - 1),)))
    with pytest.raises(TooLargeError, match="answers: .* has 12 tokens, the model writes 11 at most"):
        read(pipeline, VqaQuery("two", candidates=("cat " * POSITIONS,)))
    with pytest.raises(TooLargeError, match="question: 5000 characters"):
        pipeline.check(VqaQuery("x" * 5000))


def test_written_answers_are_given_once(pipeline: BlipVqaPipeline) -> None:
    texts = [
        GeneratedText((RED, CAT), -0.3, 3, ended=True),
        GeneratedText((RED, CAT), -0.6, 2, ended=False),
        GeneratedText((TWO,), -0.8, 2, ended=True),
    ]
    answers = pipeline.written(VqaQuery("two"), texts).answers
    assert answers == (
        ScoredAnswer("red cat", pytest.approx(np.exp(-0.1))),
        ScoredAnswer("two", pytest.approx(np.exp(-0.4))),
    )
    assert len(pipeline.written(VqaQuery("two", top_k=1), texts).answers) == 1


def test_a_closed_list_is_ranked_by_what_the_model_would_write(pipeline: BlipVqaPipeline) -> None:
    query = VqaQuery("two", top_k=2, candidates=("Red", "cat", "two"))
    answers = pipeline.ranked(query, np.array([-3.0, -1.0, -np.inf])).answers
    assert [answer.answer for answer in answers] == ["cat", "Red"]
    assert answers[0].score == pytest.approx(1 / (1 + np.exp(-2.0)))
    for broken in ([np.nan, -1.0, -1.0], [-np.inf] * 3, [-1.0, -1.0]):
        with pytest.raises(InferenceError):
            pipeline.ranked(query, np.array(broken))


def test_the_answers_of_a_checkpoint_come_with_it(tmp_path: Path) -> None:
    assets = write_blip_assets(tmp_path, answers=["red", "two cats"])
    without = BlipVqaPipeline.from_deployment(blip_deployment("vqa"), assets)
    assert without.answers is None
    deployment = dataclasses.replace(blip_deployment("vqa"), assets={"labels.json": "0" * 64})
    assert BlipVqaPipeline.from_deployment(deployment, assets).answers == ("red", "two cats")
