"""The official accuracy of visual question answering: an answer counts by how many people gave it.

Ten people answered each question. An answer scores min(number of people / 3, 1), averaged over all ways to leave one
of them out. Source: GT-Vision-Lab/VQA, PythonEvaluationTools/vqaEvaluation/vqaEval.py, in the form that its issue 14
quotes: where all people agree nothing is normalised, else the people's answers and the predicted one are.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vlp_models.evaluation.vqa_contractions import CONTRACTIONS

_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_WORDS = {"none": "0", **{word: str(number) for number, word in enumerate(_NUMBERS)}}
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBER_WITH_COMMA = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
# The original gives a flag, whose value is 32, where the number of replacements is expected.
_MAX_FULL_STOPS = 32
# People who must agree with an answer for it to count in full.
_AGREEING = 3


@dataclass(frozen=True, slots=True)
class JudgedAnswer:
    """A predicted answer and what people answered.

    Attributes:
        predicted: the model's answer.
        human: one answer a person, as they were given.
        type: the group that it is reported under, such as "yes/no", "number" or "other".
    """

    predicted: str
    human: tuple[str, ...]
    type: str = "other"


@dataclass(frozen=True, slots=True)
class VqaAccuracy:
    """A split's result.

    Attributes:
        questions: how many were asked.
        accuracy: mean over questions, 0 to 1.
        by_type: type -> its number of questions, and their mean.
    """

    questions: int
    accuracy: float
    by_type: Mapping[str, tuple[int, float]]


def normalise_answer(answer: str) -> str:
    """Lower case, digits for the first numbers, no articles, no punctuation, apostrophes where they belong."""
    words = [_WORDS.get(word, word) for word in _without_punctuation(_stripped(answer)).lower().split()]
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def vqa_accuracy(predicted: str, human: Sequence[str]) -> float:
    """The score of one answer, 0 to 1.

    Args:
        predicted: the model's answer.
        human: one answer a person, at least one.

    Raises:
        ValueError: no person.
    """
    if not human:
        raise ValueError("no human answer to compare with")
    predicted, answers = _stripped(predicted), [_stripped(answer) for answer in human]
    if len(set(answers)) > 1:
        predicted, answers = normalise_answer(predicted), [normalise_answer(answer) for answer in answers]
    matching = sum(answer == predicted for answer in answers)
    others = len(answers) - matching
    one_left_out = min((matching - 1) / _AGREEING, 1) if matching else 0.0
    return (matching * one_left_out + others * min(matching / _AGREEING, 1)) / len(answers)


def report_vqa(judged: Iterable[JudgedAnswer]) -> VqaAccuracy:
    """Score all answers of a split.

    Raises:
        ValueError: there is none.
    """
    scores: dict[str, list[float]] = defaultdict(list)
    for item in judged:
        scores[item.type].append(vqa_accuracy(item.predicted, item.human))
    total = sum(map(len, scores.values()))
    if not total:
        raise ValueError("no answer to score")
    by_type = {kind: (len(own), sum(own) / len(own)) for kind, own in sorted(scores.items())}
    return VqaAccuracy(total, sum(map(sum, scores.values())) / total, by_type)


def _stripped(answer: str) -> str:
    return answer.replace("\n", " ").replace("\t", " ").strip()


def _without_punctuation(answer: str) -> str:
    """A mark beside a space, or any in an answer with a number like 1,000, goes; elsewhere a space takes its place."""
    cleaned = answer
    has_number = _NUMBER_WITH_COMMA.search(answer) is not None
    for mark in _PUNCTUATION:
        goes = has_number or f"{mark} " in answer or f" {mark}" in answer
        cleaned = cleaned.replace(mark, "" if goes else " ")
    return _FULL_STOP.sub("", cleaned, count=_MAX_FULL_STOPS)
