"""The answers that a VQA model chooses among, and the soft targets of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vlp_pipeline import vqa
from vlp_spec.errors import ArtifactError

from vlp_models.data.records import PictureRecord


def build_labels(records: Iterable[PictureRecord], min_count: int = 1) -> tuple[str, ...]:
    """Answers seen at least `min_count` times, the most frequent first, equals in alphabetical order."""
    counts = Counter(answer for record in records for question in record.questions for answer in question.answers)
    kept = [answer for answer, count in counts.items() if count >= min_count]
    if not kept:
        raise ArtifactError(f"labels: no answer occurs {min_count} times or more in the training questions")
    return tuple(sorted(kept, key=lambda answer: (-counts[answer], answer)))


def read_labels(path: Path) -> tuple[str, ...]:
    """Read a list of answers in the form that is served, and refuse one that names an answer twice.

    Raises:
        ArtifactError: the file is missing or is not a JSON list of distinct texts.
    """
    labels = vqa.read_labels(path)
    if len(set(labels)) != len(labels):
        raise ArtifactError(f"labels {path}: an answer stands in the list twice")
    return labels


@dataclass(frozen=True)
class TargetStore:
    """Soft targets of many questions, kept sparse.

    Attributes:
        labels: label numbers of every question one after another.
        scores: their scores, float32.
        offsets: (questions + 1,) int64.
        num_labels: width of a target.
    """

    labels: np.ndarray
    scores: np.ndarray
    offsets: np.ndarray
    num_labels: int

    @classmethod
    def of(cls, answers: Sequence[Mapping[str, float]], labels: Sequence[str]) -> TargetStore:
        """Map answers to labels; answers that are no label are left out."""
        number_of = {label: number for number, label in enumerate(labels)}
        rows = [
            [(number_of[answer], score) for answer, score in item.items() if answer in number_of] for item in answers
        ]
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        flat = [pair for row in rows for pair in row]
        return cls(
            np.array([number for number, _ in flat], dtype=np.int64),
            np.array([score for _, score in flat], dtype=np.float32),
            offsets,
            len(labels),
        )

    @property
    def is_answerable(self) -> np.ndarray:
        """(questions,) bool: some accepted answer is a label."""
        return np.diff(self.offsets) > 0

    def gather(self, indices: np.ndarray) -> np.ndarray:
        """(B, num_labels) float32, 0 where an answer is not accepted."""
        targets = np.zeros((len(indices), self.num_labels), dtype=np.float32)
        for row, index in enumerate(indices):
            span = slice(self.offsets[index], self.offsets[index + 1])
            targets[row, self.labels[span]] = self.scores[span]
        return targets
