"""Logits over a list of answers -> the best answers.

Open questions are scored as the classifiers of VQA v2 are trained, each answer by itself with binary cross entropy:
score = sigmoid(logit), and the scores of several right answers do not compete. With a closed list the scores are a
softmax of the logits of the listed answers, so they add up to 1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from vlp_spec.errors import ArtifactError, InferenceError, InvalidArgumentError
from vlp_spec.tasks import ScoredAnswer, VqaQuery, VqaResult

_NAMED_IN_MESSAGE = 5


def read_labels(path: Path) -> tuple[str, ...]:
    """Read labels.json, a JSON list of answers whose index is the logit's.

    Raises:
        ArtifactError: it cannot be read, or is not a list of strings with at least one.
    """
    try:
        labels = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"labels {path}: cannot be read ({error!s:.200})") from error
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise ArtifactError(f"labels {path}: expected a JSON list of at least one string")
    return tuple(labels)


def normalise_answer(answer: str) -> str:
    """The form in which answers are compared: stripped, lower case."""
    return answer.strip().lower()


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow; same shape, float64."""
    small = np.exp(-np.abs(logits.astype(np.float64)))
    return np.where(logits >= 0, 1.0 / (1.0 + small), small / (1.0 + small))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis; same shape, float64."""
    shifted = logits.astype(np.float64)
    powers = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


class AnswerRanker:
    """Ranks the answers that a model knows.

    Args:
        labels: answer of each logit. Where two are the same after `normalise_answer`, a closed list means the one
            that it spells exactly, else the first.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self._index: dict[str, int] = {}
        for index, label in enumerate(self.labels):
            self._index.setdefault(normalise_answer(label), index)
        self._exact = {label: index for index, label in reversed(list(enumerate(self.labels)))}

    def find_candidates(self, candidates: Sequence[str]) -> np.ndarray:
        """Indices, (candidates,) int64, of the listed answers.

        Raises:
            InvalidArgumentError: the model does not know one, or two mean the same answer.
        """
        found = [self._exact.get(answer, self._index.get(normalise_answer(answer))) for answer in candidates]
        if unknown := [answer for answer, index in zip(candidates, found, strict=True) if index is None]:
            named = ", ".join(repr(answer[:80]) for answer in unknown[:_NAMED_IN_MESSAGE])
            more = f" and {len(unknown) - _NAMED_IN_MESSAGE} more" if len(unknown) > _NAMED_IN_MESSAGE else ""
            raise InvalidArgumentError(
                f"answers: the model does not know {named}{more}; it knows {len(self.labels)} answers, "
                "and a closed list must be chosen among them",
                field="answers",
            )
        if len(set(found)) != len(found):
            raise InvalidArgumentError(
                "answers: two of them are the same apart from case and spaces; give each once", field="answers"
            )
        return np.array(found, dtype=np.int64)

    def rank(self, logits: np.ndarray, query: VqaQuery) -> VqaResult:
        """The best answers, best first; equal logits keep the order of the labels (or of the closed list).

        Args:
            logits: (labels,) float.
            query: `top_k` beyond the number of answers gives all of them; answers of a closed list come back as the
                caller spelled them.

        Raises:
            InferenceError: a logit is not finite, or their number is not that of the labels.
            InvalidArgumentError: the closed list does not fit the labels.
        """
        if logits.shape != (len(self.labels),):
            raise InferenceError(f"model output: logits {logits.shape}, expected ({len(self.labels)},)")
        if not np.isfinite(logits).all():
            raise InferenceError("model output: logits that are not finite numbers, for this item alone")
        if query.candidates is None:
            names, chosen, score = self.labels, logits, sigmoid
        else:
            names, chosen, score = query.candidates, logits[self.find_candidates(query.candidates)], softmax
        # By logit, not score: far from 0 different logits have the same sigmoid.
        best = np.argsort(-chosen.astype(np.float64), kind="stable")[: query.top_k]
        scores = score(chosen)
        return VqaResult(tuple(ScoredAnswer(names[index], float(scores[index])) for index in best))
