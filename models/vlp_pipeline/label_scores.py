"""Logits -> probabilities of a model's own labels, whose names and order its manifest tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.errors import ArtifactError, InferenceError
from vlp_spec.tasks import ScoredLabel

from vlp_pipeline.deployment_fit import check_width
from vlp_pipeline.vqa import softmax

REASONING_LOGITS = "reasoning_logits"
TRUE_LABEL = "true"
ITM_LOGITS = "itm_logits"
LABELS_KEY = "labels"
"""Key of `Deployment.head`: the names of a classifier's outputs, in their order."""


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Scores by a softmax over one output.

    Attributes:
        labels: name of each logit.
        output: the graph's output that holds the logits.
    """

    labels: tuple[str, ...]
    output: str

    @classmethod
    def from_head(cls, head: Mapping[str, Any], output: str) -> LabelScores:
        """Read `Deployment.head`.

        Raises:
            ArtifactError: it names no labels, or the same twice.
        """
        labels = head.get(LABELS_KEY)
        if (
            not isinstance(labels, list)
            or len(labels) < 2
            or not all(isinstance(name, str) and name for name in labels)
        ):
            raise ArtifactError(f"deployment.head.{LABELS_KEY}: got {labels!r:.80}, expected two names or more")
        if len(set(labels)) != len(labels):
            raise ArtifactError(f"deployment.head.{LABELS_KEY}: the same name twice in {labels!r:.80}")
        return cls(tuple(labels), output)

    def probabilities(self, outputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """(labels,) float64 from one row of the graph's outputs.

        Raises:
            InferenceError: no such output, of another shape, or not finite.
        """
        return softmax(finite_row(outputs, self.output, (len(self.labels),)))

    def rank(self, outputs: Mapping[str, np.ndarray]) -> tuple[ScoredLabel, ...]:
        """All labels, the likeliest first; errors as `probabilities`."""
        scores = self.probabilities(outputs)
        order = np.argsort(-scores, kind="stable")
        return tuple(ScoredLabel(self.labels[index], float(scores[index])) for index in order)


def finite_row(outputs: Mapping[str, np.ndarray], name: str, shape: Sequence[int]) -> np.ndarray:
    """An output of one row, checked.

    Raises:
        InferenceError: it is missing, of another shape, or not finite.
    """
    row = outputs.get(name)
    if row is None or row.shape != tuple(shape):
        got = None if row is None else row.shape
        raise InferenceError(f"model output: {name} {got}, expected {tuple(shape)}")
    if not np.isfinite(row).all():
        raise InferenceError(f"model output: {name} holds numbers that are not finite, for this item alone")
    return row


def truth_scores(deployment: Deployment, output: str) -> LabelScores:
    """The two numbers of an output, one of which is called "true": of a reasoning or a matching head.

    Raises:
        ArtifactError: the manifest names others.
    """
    scores = LabelScores.from_head(deployment.head, output)
    if len(scores.labels) != 2 or TRUE_LABEL not in scores.labels:
        raise ArtifactError(f"deployment.head.labels: got {list(scores.labels)}, expected two, one of them 'true'")
    check_width(deployment, output, 2, "deployment.head.labels has 2 names")
    return scores


def truth_of(scores: LabelScores, outputs: Mapping[str, np.ndarray]) -> float:
    """The probability of "true" from one row; errors as `LabelScores.probabilities`."""
    return float(scores.probabilities(outputs)[scores.labels.index(TRUE_LABEL)])
