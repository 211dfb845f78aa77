"""Batches of phrases that name one region of their picture, for referring expressions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from vlp_pipeline.detector_boxes import pairwise_iou
from vlp_spec.errors import ArtifactError

from vlp_models.data.records import Phrase, PictureRecord
from vlp_models.data.region_features import RegionFeatures
from vlp_models.data.streams import Arrays, BatchShape, plan_texts
from vlp_models.data.tokens import TokenStore

FOUND_IOU = 0.5


@dataclass(frozen=True)
class ReferredRegions:
    """The phrases of a split, and which region each names.

    Attributes:
        phrases: in the order of their pictures.
        picture_of: (phrases,) int64.
        regions: (phrases,) int64, the region that lies over the named part best; -1 where none overlaps it by
            `FOUND_IOU`: the detector has missed it, and nothing can be learned of it.
    """

    phrases: tuple[Phrase, ...]
    picture_of: np.ndarray
    regions: np.ndarray

    @classmethod
    def of(cls, records: Sequence[PictureRecord], features: RegionFeatures, split: str) -> ReferredRegions:
        """Match phrases and regions.

        Raises:
            ArtifactError: there are no phrases, or no region fits any.
        """
        phrases: list[Phrase] = []
        picture_of, regions = [], []
        for number, record in enumerate(records):
            boxes = features.boxes(number) if record.phrases else np.zeros((0, 4))
            for phrase in record.phrases:
                overlaps = pairwise_iou(np.array([phrase.box], dtype=np.float64), boxes)[0]
                best = int(overlaps.argmax())
                phrases.append(phrase)
                picture_of.append(number)
                regions.append(best if overlaps[best] >= FOUND_IOU else -1)
        found = cls(tuple(phrases), np.array(picture_of, dtype=np.int64), np.array(regions, dtype=np.int64))
        if not (found.regions >= 0).any():
            raise ArtifactError(f"split {split!r}: no phrase names a region, which referring is trained on")
        return found


class ReferringStream:
    """Phrases with the regions of their picture; those that name no region are left out.

    Args:
        features: the split's regions.
        tokens: one text a phrase.
        referred: the phrases.
        shape: how batches are cut.

    Batches: input_ids and text_mask (B, T), the regions' arrays, targets (B,) int64, the region that is named.
    """

    name = "phrases"

    def __init__(
        self, features: RegionFeatures, tokens: TokenStore, referred: ReferredRegions, shape: BatchShape
    ) -> None:
        self._features, self._tokens, self._referred, self._shape = features, tokens, referred, shape
        examples = np.flatnonzero(referred.regions >= 0)
        self._plan = plan_texts(tokens, examples, referred.picture_of, shape, key=7)

    @property
    def batches_per_epoch(self) -> int:
        """Batches of every epoch."""
        return self._plan.batches_per_epoch

    def batch(self, number: int) -> Arrays:
        """Rows of this process in batch `number`."""
        return self.gather(self._plan.batch(number)[self._shape.rows])

    def gather(self, rows: np.ndarray) -> Arrays:
        """Some phrases (B,) by number."""
        input_ids, text_mask = self._tokens.gather(rows)
        return {
            "input_ids": input_ids,
            "text_mask": text_mask,
            "targets": self._referred.regions[rows],
            **self._features.arrays(self._referred.picture_of[rows]),
        }
