"""Batches of statements about two pictures, for visual reasoning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from vlp_spec.errors import ArtifactError

from vlp_models.data.records import PairStatement, PictureRecord
from vlp_models.data.streams import Arrays, BatchShape, Pictures, plan_texts
from vlp_models.data.tokens import TokenStore


@dataclass(frozen=True)
class StatedPairs:
    """The statements of a split.

    Attributes:
        statements: in the order of their pictures.
        left: (statements,) int64, the picture on the left.
        right: (statements,) int64, the one on the right.
        is_true: (statements,) int64, 1 or 0.
    """

    statements: tuple[PairStatement, ...]
    left: np.ndarray
    right: np.ndarray
    is_true: np.ndarray

    @classmethod
    def of(cls, records: Sequence[PictureRecord], split: str) -> StatedPairs:
        """Gather them; a statement whose other picture is not in the split is left out.

        Raises:
            ArtifactError: there is none.
        """
        number_of = {record.id: number for number, record in enumerate(records)}
        found = [
            (statement, number, number_of[statement.other])
            for number, record in enumerate(records)
            for statement in record.pair_statements
            if statement.other in number_of
        ]
        if not found:
            raise ArtifactError(f"split {split!r}: no statements on two pictures, which reasoning is trained on")
        return cls(
            tuple(statement for statement, _, _ in found),
            np.array([left for _, left, _ in found], dtype=np.int64),
            np.array([right for _, _, right in found], dtype=np.int64),
            np.array([statement.is_true for statement, _, _ in found], dtype=np.int64),
        )


class PairStatementStream:
    """Statements with their two pictures.

    Args:
        pictures: of the split.
        tokens: one text a statement.
        pairs: the statements.
        shape: how batches are cut.

    Batches: input_ids and text_mask (B, T), labels (B,) int64, 1 = true; the arrays of both pictures, "left_" and
    "right_" before their names.
    """

    name = "pair_statements"

    def __init__(self, pictures: Pictures, tokens: TokenStore, pairs: StatedPairs, shape: BatchShape) -> None:
        self._pictures, self._tokens, self._pairs, self._shape = pictures, tokens, pairs, shape
        self._plan = plan_texts(tokens, np.arange(len(tokens)), pairs.left, shape, key=6)

    @property
    def batches_per_epoch(self) -> int:
        """Batches of every epoch."""
        return self._plan.batches_per_epoch

    def batch(self, number: int) -> Arrays:
        """Rows of this process in batch `number`."""
        return self.gather(self._plan.batch(number)[self._shape.rows])

    def gather(self, rows: np.ndarray) -> Arrays:
        """Some statements (B,) by number."""
        input_ids, text_mask = self._tokens.gather(rows)
        left, right = (self._pictures.arrays(side[rows]) for side in (self._pairs.left, self._pairs.right))
        return {
            "input_ids": input_ids,
            "text_mask": text_mask,
            "labels": self._pairs.is_true[rows],
            **{f"left_{name}": array for name, array in left.items()},
            **{f"right_{name}": array for name, array in right.items()},
        }
