"""Accuracy of answers per question type, beside what always answering the most frequent answer would score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vlp_models.data.records import PictureRecord, Question
from vlp_models.evaluation.vqa_metric import JudgedAnswer, VqaAccuracy, report_vqa


@dataclass(frozen=True)
class TypeAccuracy:
    """One question type.

    Attributes:
        type: its name.
        questions: how many were asked.
        accuracy: mean soft score of the predicted answers, 0 to 1.
        baseline: the same for always giving `baseline_answer`.
    """

    type: str
    questions: int
    accuracy: float
    baseline: float
    baseline_answer: str


@dataclass(frozen=True)
class AccuracyReport:
    """A split's result.

    Attributes:
        baseline_split: the data that the majority answers were counted on.
        vqa: the official VQA accuracy, where all questions say what people answered.
    """

    types: tuple[TypeAccuracy, ...]
    baseline_split: str
    vqa: VqaAccuracy | None = None

    @property
    def questions(self) -> int:
        """All questions."""
        return sum(item.questions for item in self.types)

    @property
    def macro_accuracy(self) -> float:
        """Mean over types, each counting the same."""
        return sum(item.accuracy for item in self.types) / len(self.types)

    @property
    def macro_baseline(self) -> float:
        """The baseline's mean over types."""
        return sum(item.baseline for item in self.types) / len(self.types)

    @property
    def accuracy(self) -> float:
        """Mean over questions."""
        return sum(item.accuracy * item.questions for item in self.types) / self.questions


def majority_answers(records: Iterable[PictureRecord]) -> dict[str, str]:
    """Question type -> the answer with the largest sum of scores; equals in alphabetical order."""
    sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for record in records:
        for question in record.questions:
            for answer, score in question.answers.items():
                sums[question.type][answer] += score
    return {kind: min(answers, key=lambda answer: (-answers[answer], answer)) for kind, answers in sums.items()}


def report_accuracy(
    answered: Iterable[tuple[Question, str]], majority: Mapping[str, str], baseline_split: str
) -> AccuracyReport:
    """Score predicted answers.

    Args:
        answered: questions with the predicted answer; an answer scores what the question's record gives it, else 0.
        majority: of `majority_answers`; a type that it lacks has a baseline of 0.
        baseline_split: where `majority` was counted.
    """
    answered = list(answered)
    scores: dict[str, list[float]] = defaultdict(list)
    baselines: dict[str, list[float]] = defaultdict(list)
    for question, answer in answered:
        scores[question.type].append(question.answers.get(answer, 0.0))
        baselines[question.type].append(question.answers.get(majority.get(question.type, ""), 0.0))
    types = tuple(
        TypeAccuracy(
            kind,
            len(values),
            sum(values) / len(values),
            sum(baselines[kind]) / len(values),
            majority.get(kind, ""),
        )
        for kind, values in sorted(scores.items())
    )
    has_people = bool(answered) and all(question.human for question, _ in answered)
    judged = (JudgedAnswer(answer, question.human, question.type) for question, answer in answered)
    return AccuracyReport(types, baseline_split, report_vqa(judged) if has_people else None)
