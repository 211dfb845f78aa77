from __future__ import annotations

import pytest
from vlp_models.data.records import PictureRecord, Question
from vlp_models.evaluation.accuracy import majority_answers, report_accuracy


def _question(kind: str, **answers: float) -> Question:
    return Question("?", answers, kind)


def test_the_majority_is_counted_by_type_and_score() -> None:
    questions = (
        _question("count", one=1.0),
        _question("count", two=0.6, one=0.3),
        _question("count", two=0.6),
        _question("colour", red=1.0),
        _question("colour", blue=1.0),
    )
    assert majority_answers([PictureRecord("0", "", (), questions)]) == {"count": "one", "colour": "blue"}


def test_scores_are_soft_and_types_count_the_same() -> None:
    answered = [
        (_question("count", one=1.0, two=0.3), "two"),
        (_question("colour", red=1.0), "red"),
        (_question("colour", red=1.0), "blue"),
        (_question("colour", blue=1.0), "blue"),
    ]
    report = report_accuracy(answered, {"colour": "red"}, "train")
    colour, count = report.types
    assert (colour.type, colour.questions, colour.baseline_answer) == ("colour", 3, "red")
    assert (colour.accuracy, colour.baseline) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (count.accuracy, count.baseline, count.baseline_answer) == (0.3, 0.0, "")
    assert report.macro_accuracy == pytest.approx((2 / 3 + 0.3) / 2)
    assert report.macro_baseline == pytest.approx(1 / 3)
    assert report.accuracy == pytest.approx(2.3 / 4)
    assert (report.questions, report.baseline_split) == (4, "train")


def test_the_official_accuracy_is_counted_where_every_question_says_what_people_answered() -> None:
    people = ("two", "two", *["3"] * 8)
    asked = Question("?", {"3": 1.0, "2": 0.6}, "number", people)
    answered = [(asked, "2"), (asked, "three")]
    report = report_accuracy(answered, {}, "train")
    assert report.vqa is not None
    # Two of ten: each of them left out in turn leaves one, (2 * 1/3 + 8 * 2/3) / 10.
    assert report.vqa.accuracy == pytest.approx(((2 / 3 + 16 / 3) / 10 + 1) / 2)
    assert report.vqa.by_type.keys() == {"number"}
    assert report_accuracy([*answered, (_question("number", one=1.0), "one")], {}, "train").vqa is None
