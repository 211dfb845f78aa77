"""Accuracy of tasks with one right label an example (entailment, reasoning), label by label, beside the majority."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from vlp_models.data.records import Question
from vlp_models.evaluation.accuracy import AccuracyReport, report_accuracy


@dataclass(frozen=True)
class LabelReport:
    """A split's result.

    Attributes:
        by_label: one "type" a right label: how many examples have it, and the share of them that was found.
        majority: the label that the baseline always gives.
    """

    by_label: AccuracyReport
    majority: str

    @property
    def examples(self) -> int:
        """All examples."""
        return self.by_label.questions

    @property
    def accuracy(self) -> float:
        """Share of examples whose label was found, 0 to 1."""
        return self.by_label.accuracy

    @property
    def balanced_accuracy(self) -> float:
        """Mean over labels, each counting the same."""
        return self.by_label.macro_accuracy

    @property
    def baseline(self) -> float:
        """Accuracy of always giving `majority`."""
        return sum(item.baseline * item.questions for item in self.by_label.types) / self.examples


def majority_label(labels: Iterable[str]) -> str:
    """The most frequent label; of equals the first in alphabetical order.

    Raises:
        ValueError: there is none.
    """
    counts = Counter(labels)
    if not counts:
        raise ValueError("no label to count")
    return min(counts, key=lambda label: (-counts[label], label))


def report_labels(predicted: Iterable[tuple[str, str]], majority: str, baseline_split: str) -> LabelReport:
    """Score predicted labels.

    Args:
        predicted: the right label of each example, and the predicted one; at least one example.
        majority: of `majority_label`, counted on `baseline_split`.
        baseline_split: names the data that `majority` was counted on.

    Raises:
        ValueError: there is no example.
    """
    answered = [(Question("", {right: 1.0}, right), guess) for right, guess in predicted]
    if not answered:
        raise ValueError("no example to score")
    labels = {question.type for question, _ in answered}
    return LabelReport(report_accuracy(answered, dict.fromkeys(labels, majority), baseline_split), majority)
