"""Batches of pictures with the words for their regions; the only text is [CLS] [SEP]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlp_models.data.epochs import EpochPlan
from vlp_models.data.pictures import PictureStore
from vlp_models.data.records import Region
from vlp_models.data.streams import Arrays, BatchShape
from vlp_models.data.tokens import SpecialTokens


def place_words(box: Sequence[float]) -> tuple[str, str]:
    """The thirds of the picture, from top and from left, in which a box (x0, y0, x1, y1; shares) has its middle."""
    row, column = (min(2, int(1.5 * (box[start] + box[start + 2]))) for start in (1, 0))
    return ("top", "middle", "bottom")[row], ("left", "center", "right")[column]


def place_phrase(box: Sequence[float]) -> str:
    """The place of a box on a grid of nine: "top left", "middle right", "center"."""
    row, column = place_words(box)
    return "center" if (row, column) == ("middle", "center") else f"{row} {column}"


def centre_slots(regions: Sequence[Region], grid: Sequence[int] | np.ndarray) -> np.ndarray:
    """(regions,) int64: the patch, in row-major order on `grid` (rows, columns), in the middle of each region."""
    rows, columns = grid
    centres = np.array([((r.box[0] + r.box[2]) / 2, (r.box[1] + r.box[3]) / 2) for r in regions]).reshape(-1, 2)
    column = np.minimum((centres[:, 0] * columns).astype(np.int64), columns - 1)
    row = np.minimum((centres[:, 1] * rows).astype(np.int64), rows - 1)
    return row * columns + column


@dataclass(frozen=True)
class RegionStore:
    """Regions of a split: the patch in the middle of each, and its words.

    Attributes:
        slots: a picture -> (regions,) int64, patch numbers in row-major order.
        words: a picture -> (words, 2) int64, region number in the picture and token id.
    """

    slots: Sequence[np.ndarray]
    words: Sequence[np.ndarray]

    @classmethod
    def of(
        cls, regions: Sequence[Sequence[Region]], words: Sequence[Sequence[np.ndarray]], grids: np.ndarray
    ) -> RegionStore:
        """Build it.

        Args:
            regions: of each picture.
            words: token ids of each region, without special tokens.
            grids: (pictures, 2) int32, rows and columns of patches.
        """
        slots, pairs = [], []
        for own, own_words, grid in zip(regions, words, grids, strict=True):
            slots.append(centre_slots(own, grid))
            flat = [(region, int(token)) for region, tokens in enumerate(own_words) for token in tokens]
            pairs.append(np.array(flat, dtype=np.int64).reshape(-1, 2))
        return cls(slots, pairs)

    def gather(self, pictures: np.ndarray) -> Arrays:
        """Every region of some pictures.

        Args:
            pictures: (B,) int.

        Returns:
            region_rows and region_slots (R,) int64, the row in the batch and the patch of each region; region_words
            (W, 2) int64, region and token id.
        """
        slots = [self.slots[index] for index in pictures]
        firsts = np.cumsum([0, *(len(own) for own in slots)])
        words = [self.words[index] + (first, 0) for index, first in zip(pictures, firsts, strict=False)]
        return {
            "region_rows": np.repeat(np.arange(len(pictures)), [len(own) for own in slots]),
            "region_slots": np.concatenate(slots),
            "region_words": np.concatenate(words),
        }

    def count_words(self, pictures: np.ndarray) -> int:
        """Words of all regions of some pictures."""
        return sum(len(self.words[index]) for index in pictures)


def region_phrase(region: Region) -> str:
    """A region in words, with its place on a grid of nine: "a small red cat at the top left"."""
    return f"a {' '.join(region.words)} at the {place_phrase(region.box)}"


class RegionStream:
    """Pictures with their regions.

    Args:
        pictures: the split's pictures.
        regions: of every picture; pictures without one are left out.
        special: the tokenizer's special ids.
        shape: how batches are cut.

    Batches: patches, grid, input_ids and text_mask (B, 2); region_rows and region_slots (R,) int64, the row in the
    batch and the patch of each region; region_words (W, 2) int64, region and token id; region_scale () float32, the
    factor that turns the summed loss into its share of the mean over the words of the whole step, in all its batches
    and processes.
    """

    name = "regions"

    def __init__(self, pictures: PictureStore, regions: RegionStore, special: SpecialTokens, shape: BatchShape) -> None:
        self._pictures, self._regions, self._shape = pictures, regions, shape
        self._text = np.array([special.cls, special.sep], dtype=np.int32)
        examples = np.array([index for index, words in enumerate(regions.words) if len(words)], dtype=np.int64)
        ones = np.ones(len(examples), dtype=np.int64)
        self._plan = EpochPlan(lambda rng: (examples, ones), shape.global_size, seed=(shape.seed, 4))

    @property
    def batches_per_epoch(self) -> int:
        """Batches of every epoch."""
        return self._plan.batches_per_epoch

    def batch(self, number: int) -> Arrays:
        """Rows of this process in batch `number`."""
        words = sum(self._regions.count_words(self._plan.batch(other)) for other in self._shape.step_of(number))
        mine = self._plan.batch(number)[self._shape.rows]
        patches, grid = self._pictures.gather(mine)
        return {
            "patches": patches,
            "grid": grid,
            "input_ids": np.tile(self._text, (len(mine), 1)),
            "text_mask": np.ones((len(mine), 2), dtype=np.int32),
            "region_scale": self._shape.mean_scale(words),
            **self._regions.gather(mine),
        }
