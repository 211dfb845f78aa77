from __future__ import annotations

import pytest
from vlp_models.evaluation.label_accuracy import majority_label, report_labels

# right label, predicted label
PREDICTED = [
    ("entailment", "entailment"),
    ("entailment", "neutral"),
    ("entailment", "entailment"),
    ("neutral", "entailment"),
    ("neutral", "neutral"),
    ("contradiction", "entailment"),
]


def test_each_label_is_reported_beside_the_majority() -> None:
    report = report_labels(PREDICTED, "entailment", "train")
    assert [(item.type, item.questions, item.accuracy, item.baseline) for item in report.by_label.types] == [
        ("contradiction", 1, 0.0, 0.0),
        ("entailment", 3, pytest.approx(2 / 3), 1.0),
        ("neutral", 2, 0.5, 0.0),
    ]
    assert (report.examples, report.majority, report.by_label.baseline_split) == (6, "entailment", "train")
    assert report.accuracy == pytest.approx(3 / 6)
    assert report.balanced_accuracy == pytest.approx((0 + 2 / 3 + 1 / 2) / 3)
    assert report.baseline == pytest.approx(3 / 6)


def test_a_majority_of_other_data_may_be_right_less_often() -> None:
    assert report_labels(PREDICTED, "contradiction", "train").baseline == pytest.approx(1 / 6)
    assert report_labels(PREDICTED, "true", "train").baseline == 0.0


def test_the_majority_is_the_most_frequent_label() -> None:
    assert majority_label(["b", "a", "b"]) == "b"
    assert majority_label(["b", "a", "c", "c", "b"]) == "b"


def test_without_an_example_there_is_no_report() -> None:
    with pytest.raises(ValueError, match="no label"):
        majority_label([])
    with pytest.raises(ValueError, match="no example"):
        report_labels([], "a", "train")
