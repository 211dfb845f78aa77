"""Batches of pictures with their captions for contrastive learning, and on wish with what their regions show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlp_models.data.matching import FalseTexts
from vlp_models.data.pictures import PictureStore
from vlp_models.data.preparations import gather_squares, move_pictures
from vlp_models.data.regions import RegionStore
from vlp_models.data.streams import Arrays, BatchShape, plan_texts
from vlp_models.data.tokens import TokenStore


def group_texts(texts: Sequence[str]) -> np.ndarray:
    """Number of each text among the distinct ones, (texts,) int64: equal texts have one number."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64)


@dataclass(frozen=True)
class PhraseStore:
    """A phrase for every region of a split.

    Attributes:
        tokens: of the phrases, picture after picture.
        groups: (phrases,) int64, of `group_texts`.
        slots: (phrases,) int64, the patch in the middle of each region.
        first: (pictures + 1,) int64, picture i has the phrases first[i]:first[i + 1], at least one.
        per_picture: phrases drawn of each picture, with repetition where it has fewer.
    """

    tokens: TokenStore
    groups: np.ndarray
    slots: np.ndarray
    first: np.ndarray
    per_picture: int

    def draw(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(B * per_picture,) int64 phrases, picture after picture."""
        counts = np.diff(self.first)[pictures]
        chosen = np.floor(rng.random((len(pictures), self.per_picture)) * counts[:, None]).astype(np.int64)
        return (self.first[pictures][:, None] + chosen).reshape(-1)


@dataclass(frozen=True)
class FalseTextRule:
    """When captions are judged, and how often against a false one that is nearly true.

    Attributes:
        texts: makes them.
        share: of the captions that get one, 0 to 1, where one can be made.
        every: captions are judged in every so many steps.
    """

    texts: FalseTexts
    share: float
    every: int = 1


@dataclass(frozen=True)
class PairObjectives:
    """What batches hold besides pictures and their captions.

    Attributes:
        regions: of the pictures, on the model's grid of patches; None without them.
        phrases: of the regions; None without them.
        judged: for image-text matching; None without it.
        moved_pixels: pictures are moved by chance, by so many pixels at most, up or down and to a side: a thing then
            lies otherwise on the patches each time. Few enough that it stays where its captions say it is.
    """

    regions: RegionStore | None = None
    phrases: PhraseStore | None = None
    judged: FalseTextRule | None = None
    moved_pixels: int = 0


class PairStream:
    """Captions with their pictures.

    Args:
        pictures: squares of a `SquarePreparation`.
        tokens: one text a caption.
        text_groups: (captions,) int64, of `group_texts`.
        picture_of: (captions,) the picture of each.
        shape: how batches are cut.
        wanted: see PairObjectives.

    Batches: pixels (B, S, S, 3) uint8, input_ids and text_mask (B, T) int32; word_scale () float32, the factor that
    turns a loss summed over all tokens but the first into its share of the mean over the whole step, in all its batches
    and processes; of all G rows of all processes, text_groups and picture_groups (G,) int64. With regions:
    region_rows, region_slots, region_words, region_scale as in RegionStream. With phrases, of which each row has
    `per_picture`: phrase_slots (P,) int64, phrase_ids and phrase_mask (P, T) int32, and of all processes phrase_groups
    int64. With matching, in the steps that have it: false_rows (F,) int64, and the false texts of these rows, false_ids
    and false_mask (F, T) int32.
    """

    name = "pairs"

    def __init__(
        self,
        pictures: PictureStore,
        tokens: TokenStore,
        text_groups: np.ndarray,
        picture_of: np.ndarray,
        *,
        shape: BatchShape,
        wanted: PairObjectives = PairObjectives(),
    ) -> None:
        self._pictures, self._tokens, self._text_groups, self._picture_of = pictures, tokens, text_groups, picture_of
        self._shape, self._wanted = shape, wanted
        self._plan = plan_texts(tokens, np.arange(len(tokens)), picture_of, shape, key=5)

    @property
    def batches_per_epoch(self) -> int:
        """Batches of every epoch."""
        return self._plan.batches_per_epoch

    def batch(self, number: int) -> Arrays:
        """Rows of this process in batch `number`."""
        everyone, rows = self._plan.batch(number), self._shape.rows
        pictures = self._picture_of[everyone]
        input_ids, text_mask = self._tokens.gather(everyone[rows])
        arrays: Arrays = {
            "pixels": self._pixels(pictures, number),
            "input_ids": input_ids,
            "text_mask": text_mask,
            "word_scale": self._shape.mean_scale(self._count_tokens(number)),
            "text_groups": self._text_groups[everyone],
            "picture_groups": pictures,
        }
        if self._wanted.regions is not None:
            arrays |= self._wanted.regions.gather(pictures[rows])
            arrays["region_scale"] = self._shape.mean_scale(self._count_words(self._wanted.regions, number))
        if self._wanted.phrases is not None:
            drawn = self._wanted.phrases.draw(pictures, np.random.default_rng((self._shape.seed, 6, number)))
            count = self._wanted.phrases.per_picture
            mine = drawn[rows.start * count : rows.stop * count]
            arrays["phrase_ids"], arrays["phrase_mask"] = self._wanted.phrases.tokens.gather(mine)
            arrays["phrase_slots"] = self._wanted.phrases.slots[mine]
            arrays["phrase_groups"] = self._wanted.phrases.groups[drawn]
        if self._wanted.judged is not None and number // self._shape.micro_batches % self._wanted.judged.every == 0:
            arrays |= self._false_texts(self._wanted.judged, everyone, number)
        return arrays

    def _pixels(self, pictures: np.ndarray, number: int) -> np.ndarray:
        """The pictures of this process in a batch, (B, S, S, 3) uint8."""
        rows, most = self._shape.rows, self._wanted.moved_pixels
        pixels = gather_squares(self._pictures, pictures[rows])
        if not most:
            return pixels
        rng = np.random.default_rng((self._shape.seed, 8, number))
        return move_pictures(pixels, rng.integers(-most, most + 1, size=(len(pictures), 2))[rows])

    def _false_texts(self, rule: FalseTextRule, everyone: np.ndarray, number: int) -> Arrays:
        rng = np.random.default_rng((self._shape.seed, 7, number))
        is_wanted, seeds = rng.random(len(everyone)) < rule.share, rng.integers(0, 2**62, size=len(everyone))
        first = self._shape.rows.start
        made = {}
        for row, text in enumerate(everyone[self._shape.rows]):
            found = rule.texts.make(int(text), int(seeds[first + row])) if is_wanted[first + row] else None
            if found is not None:
                made[row] = found.ids
        width = max((len(ids) for ids in made.values()), default=1)
        ids = np.full((len(made), width), self._tokens.pad_id, dtype=np.int32)
        mask = np.zeros_like(ids)
        for line, own in enumerate(made.values()):
            ids[line, : len(own)], mask[line, : len(own)] = own, 1
        return {"false_rows": np.array(list(made), dtype=np.int64), "false_ids": ids, "false_mask": mask}

    def _count_tokens(self, number: int) -> int:
        """Tokens of all texts of the step of a batch, but for the first of each."""
        rows = np.concatenate([self._plan.batch(other) for other in self._shape.step_of(number)])
        return int(self._tokens.lengths[rows].sum()) - len(rows)

    def _count_words(self, regions: RegionStore, number: int) -> int:
        """Words for regions in the whole step of a batch."""
        step = self._shape.step_of(number)
        return sum(regions.count_words(self._picture_of[self._plan.batch(other)]) for other in step)
