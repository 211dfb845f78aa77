"""Pairs for image-text matching: true ones, exchanged pictures, and captions that are nearly true."""

from __future__ import annotations

import difflib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vlp_models.scenes.false_captions import false_captions
from vlp_models.scenes.world import Scene

KNOWN_TRUE, KNOWN_FALSE, UNKNOWN = 0, 1, -1
Encode = Callable[[str], np.ndarray]


@dataclass(frozen=True)
class FalseText:
    """A false caption.

    Attributes:
        ids: (T,) int32, [CLS] and [SEP] included.
        word_labels: (T,) int64, `KNOWN_FALSE` at the words that are not the true caption's.
    """

    ids: np.ndarray
    word_labels: np.ndarray


class FalseTexts:
    """Makes false captions of those captions whose picture's scene is known.

    Args:
        texts: of all pictures, one after another.
        picture_of: (texts,) int, the picture of each.
        scenes: of every picture; None where unknown.
        encode: text to ids.
    """

    def __init__(
        self, texts: Sequence[str], picture_of: np.ndarray, scenes: Sequence[Scene | None], encode: Encode
    ) -> None:
        self._texts, self._picture_of, self._scenes, self._encode = texts, picture_of, scenes, encode

    def make(self, text: int, seed: int) -> FalseText | None:
        """A false caption beside text number `text`; None where none can be made."""
        scene = self._scenes[self._picture_of[text]]
        if scene is None:
            return None
        made = false_captions(self._texts[text], scene, random.Random(seed), 1)
        if not made:
            return None
        ids = self._encode(made[0])
        return FalseText(ids, mark_replaced(self._encode(self._texts[text]), ids))


def mark_replaced(true_ids: np.ndarray, false_ids: np.ndarray) -> np.ndarray:
    """Which words of a false text are not those of the true one.

    Args:
        true_ids: (T,) int.
        false_ids: (U,) int.

    Returns:
        (U,) int64, `KNOWN_FALSE` or `KNOWN_TRUE`; of words that are missing, the one after them is marked.
    """
    labels = np.full(len(false_ids), KNOWN_TRUE, dtype=np.int64)
    matcher = difflib.SequenceMatcher(None, true_ids.tolist(), false_ids.tolist(), autojunk=False)
    for change, _, _, start, end in matcher.get_opcodes():
        if change != "equal":
            labels[start : max(end, start + 1)] = KNOWN_FALSE
    return labels


def with_false_texts(
    input_ids: np.ndarray, text_mask: np.ndarray, given: dict[int, FalseText], pad_id: int
) -> tuple[np.ndarray, np.ndarray]:
    """Exchange some rows' texts.

    Args:
        input_ids: (B, T) int32; not changed.
        text_mask: (B, T) int32.
        given: row -> the text to put there.
        pad_id: fills.

    Returns:
        ids and mask (B, T') int32, T' at least T.
    """
    width = max([input_ids.shape[1], *(len(text.ids) for text in given.values())])
    grow = ((0, 0), (0, width - input_ids.shape[1]))
    ids, mask = np.pad(input_ids, grow, constant_values=pad_id), np.pad(text_mask, grow)
    for row, text in given.items():
        ids[row], mask[row] = pad_id, 0
        ids[row, : len(text.ids)], mask[row, : len(text.ids)] = text.ids, 1
    return ids, mask


def label_words(labels: np.ndarray, text_mask: np.ndarray, given: dict[int, FalseText]) -> np.ndarray:
    """What is known of each word.

    Args:
        labels: (B,) 1 = a true pair.
        text_mask: (B, T) of `with_false_texts`.
        given: row -> its false text.

    Returns:
        (B, T) int64: a true pair's words are true, a false text's as marked, all else unknown.
    """
    words = np.where((labels[:, None] == 1) & (text_mask > 0), KNOWN_TRUE, UNKNOWN).astype(np.int64)
    for row, text in given.items():
        words[row, : len(text.ids)] = text.word_labels
    return words
