"""Batches of captions with some of their pictures' regions hidden, for masked region modelling.

Source: Chen et al. 2020 (arXiv:1909.11740), sec. 3.2: regions are hidden with a probability of 15 %, words are not.
"""

from __future__ import annotations

import numpy as np

from vlp_models.data.region_features import RegionFeatures
from vlp_models.data.streams import Arrays, BatchShape, plan_texts
from vlp_models.data.tokens import TokenStore


class MaskedRegionStream:
    """Captions with hidden regions, at least one of each picture.

    Args:
        regions: the split's pictures.
        tokens: one text a caption.
        picture_of: (captions,) the picture of each.
        shape: how batches are cut.
        probability: of a region to be hidden.
        classes: whether the classes of the hidden regions are wanted, too.

    Batches: the regions' arrays, input_ids and text_mask (B, T); region_masked (B, R) bool, region_scale () float32,
    the factor that turns a sum over the hidden regions into its share of the mean over the whole step; with `classes`
    region_classes (hidden, C) float32, the detector's probabilities in the order of region_masked.
    """

    name = "masked_regions"

    def __init__(
        self,
        regions: RegionFeatures,
        tokens: TokenStore,
        picture_of: np.ndarray,
        shape: BatchShape,
        *,
        probability: float = 0.15,
        classes: bool = False,
    ) -> None:
        self._regions, self._tokens, self._picture_of = regions, tokens, picture_of
        self._shape, self._probability, self._classes = shape, probability, classes
        self._plan = plan_texts(tokens, np.arange(len(tokens)), picture_of, shape, key=5)

    @property
    def batches_per_epoch(self) -> int:
        """Batches of every epoch."""
        return self._plan.batches_per_epoch

    def batch(self, number: int) -> Arrays:
        """Rows of this process in batch `number`."""
        hidden = sum(int(self._draw(other).sum()) for other in self._shape.step_of(number))
        mine = self._plan.batch(number)[self._shape.rows]
        pictures = self._picture_of[mine]
        input_ids, text_mask = self._tokens.gather(mine)
        arrays = self._regions.arrays(pictures)
        masked = self._draw(number)[self._shape.rows, : arrays["region_mask"].shape[1]]
        arrays |= {"input_ids": input_ids, "text_mask": text_mask, "region_masked": masked}
        arrays["region_scale"] = self._shape.mean_scale(hidden)
        if self._classes:
            arrays["region_classes"] = self._regions.probabilities(pictures)[masked].astype(np.float32)
        return arrays

    def _draw(self, number: int) -> np.ndarray:
        """(whole batch, most regions) bool: the hidden regions of a batch of all processes."""
        counts = self._regions.counts(self._picture_of[self._plan.batch(number)])
        rng = np.random.default_rng((self._shape.seed, 5, number))
        scores = rng.random((len(counts), int(counts.max())))
        scores[np.arange(scores.shape[1]) >= counts[:, None]] = 1.0
        hidden = scores < self._probability
        hidden[np.arange(len(counts)), scores.argmin(axis=1)] = True
        return hidden
