from __future__ import annotations

import pytest
from vlp_models.evaluation.vqa_contractions import CONTRACTIONS
from vlp_models.evaluation.vqa_metric import JudgedAnswer, normalise_answer, report_vqa, vqa_accuracy


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("Yes", "yes"),
        ("  A Red   apple.\n", "red apple"),
        ("the", ""),
        ("an hour", "hour"),
        ("two", "2"),
        ("Ten", "10"),
        ("none", "0"),
        ("eleven", "eleven"),
        ("two-story house", "2 story house"),
        ("t-shirt", "t shirt"),
        ("black/white", "black white"),
        ("black / white", "black white"),
        ("what? ", "what"),
        ("wait, what", "wait what"),
        ("wait,what", "wait what"),
        ("1,000", "1000"),
        ("$1,000-ish", "$1000ish"),
        ("3.5", "3.5"),
        ("3. 5", "3 5"),
        ("u.s.", "us"),
        ("12:30", "12:30"),
        ("dont know", "don't know"),
        ("don't know", "don't know"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("'ow'sat", "'ow's'at"),
        ("yall'd've", "y'all'd've"),
        ("somebody'd", "somebodyd"),
        ("whos there!", "who's there"),
        ("well", "well"),
        ("", ""),
    ],
)
def test_answers_are_normalised_as_the_official_evaluation_does(answer: str, normal: str) -> None:
    assert normalise_answer(answer) == normal


def test_every_contraction_lacks_one_apostrophe() -> None:
    assert len(CONTRACTIONS) == 114
    others = {spelling: word for spelling, word in CONTRACTIONS.items() if spelling != "somebody'd"}
    for spelling, word in others.items():
        assert len(word) == len(spelling) + 1
        assert spelling.replace("'", "") == word.replace("'", "")


@pytest.mark.parametrize(
    ("predicted", "people", "score"),
    [
        # The two figures that the authors work out in issue 1 of the evaluation's repository.
        ("yes", ["yes"] * 8 + ["no"] * 2, 1.0),
        ("no", ["yes"] * 8 + ["no"] * 2, 0.6),
        ("maybe", ["yes"] * 8 + ["no"] * 2, 0.0),
        ("no", ["yes"] * 9 + ["no"], 0.3),
        ("no", ["yes"] * 7 + ["no"] * 3, 0.9),
        ("no", ["yes"] * 6 + ["no"] * 4, 1.0),
        ("yes", ["yes"] * 10, 1.0),
        ("yes", ["yes"], 0.0),
    ],
)
def test_the_score_is_the_mean_over_leaving_one_person_out(predicted: str, people: list[str], score: float) -> None:
    assert vqa_accuracy(predicted, people) == pytest.approx(score)


def test_both_sides_are_normalised_where_people_differ() -> None:
    people = ["The Dog"] * 5 + ["dog"] * 3 + ["a cat."] * 2
    assert vqa_accuracy("a dog.", people) == 1.0
    assert vqa_accuracy("cat", people) == pytest.approx(0.6)


def test_nothing_is_normalised_where_all_people_agree() -> None:
    assert vqa_accuracy("Yes.", ["yes"] * 10) == 0.0
    assert vqa_accuracy(" yes\n", ["yes"] * 10) == 1.0
    assert vqa_accuracy("The Who", ["The Who"] * 10) == 1.0


def test_a_split_is_reported_by_type() -> None:
    people = ("yes",) * 8 + ("no",) * 2
    report = report_vqa(
        [
            JudgedAnswer("yes", people, "yes/no"),
            JudgedAnswer("no", people, "yes/no"),
            JudgedAnswer("two", ("2",) * 9 + ("3",), "number"),
            JudgedAnswer("red", ("blue",) * 10),
        ]
    )
    assert (report.questions, report.accuracy) == (4, pytest.approx(2.6 / 4))
    assert report.by_type == {"number": (1, 1.0), "other": (1, 0.0), "yes/no": (2, pytest.approx(0.8))}


def test_without_people_or_answers_there_is_no_score() -> None:
    with pytest.raises(ValueError, match="no human answer"):
        vqa_accuracy("yes", [])
    with pytest.raises(ValueError, match="no answer to score"):
        report_vqa([])
