import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlp_pipeline.vqa import AnswerRanker, normalise_answer, read_labels, sigmoid, softmax
from vlp_spec.errors import ArtifactError, InferenceError, InvalidArgumentError
from vlp_spec.tasks import ScoredAnswer, VqaQuery

LABELS = ("yes", "no", "red", "", "Red")
LOGITS = np.array([0.0, -2.0, 3.0, 1.0, -1.0], dtype=np.float32)


@pytest.fixture
def ranker() -> AnswerRanker:
    return AnswerRanker(LABELS)


def query(top_k: int = 5, *candidates: str) -> VqaQuery:
    return VqaQuery("what?", top_k, candidates or None)


def names(answers: tuple[ScoredAnswer, ...]) -> list[str]:
    return [answer.answer for answer in answers]


def test_open_question_scores_each_answer_by_itself(ranker: AnswerRanker) -> None:
    answers = ranker.rank(LOGITS, query(3)).answers
    assert names(answers) == ["red", "", "yes"]
    assert [answer.score for answer in answers] == pytest.approx(
        [1 / (1 + np.exp(-3.0)), 1 / (1 + np.exp(-1.0)), 0.5], abs=1e-12
    )


def test_top_k_ends_at_the_number_of_answers(ranker: AnswerRanker) -> None:
    assert len(ranker.rank(LOGITS, query(100)).answers) == 5
    assert len(ranker.rank(LOGITS, query(100, "yes", "no")).answers) == 2


def test_closed_list_is_a_softmax_over_it(ranker: AnswerRanker) -> None:
    answers = ranker.rank(LOGITS, query(5, "yes", "no", "red")).answers
    powers = np.exp([3.0, 0.0, -2.0])
    assert names(answers) == ["red", "yes", "no"]
    assert [answer.score for answer in answers] == pytest.approx(list(powers / powers.sum()), abs=1e-12)
    assert ranker.rank(LOGITS, query(1, "no")).answers == (ScoredAnswer("no", 1.0),)


def test_closed_list_is_matched_loosely_and_returned_as_spelled(ranker: AnswerRanker) -> None:
    assert names(ranker.rank(LOGITS, query(5, " YES ", "No")).answers) == [" YES ", "No"]


def test_an_exact_spelling_comes_before_a_loose_one(ranker: AnswerRanker) -> None:
    assert ranker.find_candidates(["Red", "red", "YES"]).tolist() == [4, 2, 0]
    assert ranker.find_candidates(["RED"]).tolist() == [2]


def test_unknown_candidates_are_named(ranker: AnswerRanker) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        ranker.rank(LOGITS, query(5, "yes", "maybe", "blue"))
    assert caught.value.field == "answers"
    assert "does not know 'maybe', 'blue'; it knows 5 answers" in caught.value.message


def test_many_or_long_unknown_candidates_are_cut_short(ranker: AnswerRanker) -> None:
    with pytest.raises(InvalidArgumentError, match="and 3 more") as caught:
        ranker.find_candidates([f"{index}" + "x" * 500 for index in range(8)])
    assert len(caught.value.message) < 700


def test_candidates_that_mean_the_same(ranker: AnswerRanker) -> None:
    with pytest.raises(InvalidArgumentError, match="the same apart from case and spaces"):
        ranker.find_candidates(["yes", "Yes"])


def test_ties_keep_their_order(ranker: AnswerRanker) -> None:
    level = np.zeros(5, dtype=np.float32)
    assert names(ranker.rank(level, query(3)).answers) == ["yes", "no", "red"]
    assert names(ranker.rank(level, query(3, "red", "no", "yes")).answers) == ["red", "no", "yes"]


def test_far_logits_rank_by_logit_where_the_sigmoid_is_level(ranker: AnswerRanker) -> None:
    answers = ranker.rank(np.array([50.0, 60.0, 40.0, 80.0, 70.0], dtype=np.float32), query(5)).answers
    assert names(answers) == ["", "Red", "no", "yes", "red"]
    assert {answer.score for answer in answers} == {1.0}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite(bad: float, ranker: AnswerRanker) -> None:
    logits = LOGITS.copy()
    logits[1] = bad
    for asked in (query(), query(5, "yes", "red")):
        with pytest.raises(InferenceError, match="not finite"):
            ranker.rank(logits, asked)


@pytest.mark.parametrize("shape", [(4,), (6,), (1, 5), ()])
def test_logits_of_another_shape(shape: tuple[int, ...], ranker: AnswerRanker) -> None:
    with pytest.raises(InferenceError, match=r"expected \(5,\)"):
        ranker.rank(np.zeros(shape, dtype=np.float32), query())


def test_half_precision_logits(ranker: AnswerRanker) -> None:
    assert names(ranker.rank(LOGITS.astype(np.float16), query(1)).answers) == ["red"]


@given(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=8))
def test_scores_are_probabilities(values: list[float]) -> None:
    logits = np.array(values, dtype=np.float32)
    for scores in (sigmoid(logits), softmax(logits)):
        assert scores.dtype == np.float64
        assert ((scores >= 0) & (scores <= 1)).all()
    assert softmax(logits).sum() == pytest.approx(1.0)


def test_normalised_answers() -> None:
    assert normalise_answer("  Traffic Light\n") == "traffic light"


def test_read_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(["café", ""], ensure_ascii=False), encoding="utf-8")
    assert read_labels(path) == ("café", "")


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b'["a", 1]', b'"abc"', b'["\xff"]'])
def test_broken_labels(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"labels\.json"):
        read_labels(path)
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_labels(tmp_path / "none.json")
