"""Masked language modelling's inputs and targets, drawn in numpy so that every process draws the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlp_models.data.tokens import SpecialTokens, TokenStore

IGNORED = -100
REPLACEMENTS = ("bert", "mask", "plausible")


@dataclass(frozen=True)
class MaskingRule:
    """How words are hidden.

    Attributes:
        probability: share of words (or pieces) that are predicted.
        whole_words: all pieces of a word together, as the released ViLT weights were trained.
        replacement: "bert" = 80 % [MASK], 10 % another token, 10 % unchanged; "mask" = always [MASK]; "plausible" =
            half [MASK], half another word that could stand there, and the words that stay are predicted as well: the
            model has to tell from the picture which words are wrong.
    """

    probability: float = 0.15
    whole_words: bool = True
    replacement: str = "bert"


@dataclass(frozen=True)
class PlausibleWords:
    """Which words follow which in the training texts.

    Attributes:
        words: followers of token 0, then of token 1, and so on, each once; int32.
        offsets: (vocabulary + 1,) int64; the followers of token t are words[offsets[t]:offsets[t + 1]].
    """

    words: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, tokens: TokenStore, special: SpecialTokens) -> PlausibleWords:
        """Count them; special tokens and pieces that continue a word follow nothing."""
        vocabulary = len(special.is_continuation)
        is_inner = np.ones(len(tokens.ids), dtype=bool)
        is_inner[tokens.offsets[:-1][tokens.lengths > 0]] = False
        following = tokens.ids[is_inner]
        before = tokens.ids[np.flatnonzero(is_inner) - 1]
        is_word = ~special.is_continuation[following] & (following != special.sep) & (following != special.cls)
        pairs = np.unique(before[is_word].astype(np.int64) * vocabulary + following[is_word])
        counts = np.bincount(pairs // vocabulary, minlength=vocabulary)
        return cls((pairs % vocabulary).astype(np.int32), np.concatenate([[0], np.cumsum(counts)]))

    def draw(self, before: np.ndarray, tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For each token (...) another that follows `before` (...) somewhere; -1 where none was drawn."""
        first, count = self.offsets[before], self.offsets[before + 1] - self.offsets[before]
        chosen = first + (rng.random(before.shape) * count).astype(np.int64)
        drawn = self.words[np.minimum(chosen, len(self.words) - 1)] if len(self.words) else np.full_like(tokens, -1)
        return np.where((count > 0) & (drawn != tokens), drawn, -1).astype(np.int32)


def mask_tokens(
    input_ids: np.ndarray,
    text_mask: np.ndarray,
    special: SpecialTokens,
    rule: MaskingRule,
    rng: np.random.Generator,
    plausible: PlausibleWords | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Hide some words of a batch; every text with a word has at least one hidden.

    Args:
        input_ids: (B, T) int32; not changed.
        text_mask: (B, T), 1 = token.
        special: ids of the tokenizer; [CLS] and [SEP] are never hidden.
        rule: how many, and what stands in their place.
        rng: the source of chance.
        plausible: what stands in a word's place under the rule "plausible".

    Returns:
        Masked ids (B, T) int32 and targets (B, T) int64: the original id where it is to be predicted, else -100.

    Source: Devlin et al. 2018 (arXiv:1810.04805), sec. 3.1; whole words: Kim et al. 2021 (arXiv:2102.03334), 3.3;
    predicting every word: "All-Tokens MLM" of Clark et al. 2020 (arXiv:2003.10555), sec. 3.4.
    """
    rows, columns = input_ids.shape
    allowed = (text_mask > 0) & (input_ids != special.cls) & (input_ids != special.sep)
    starts = np.ones_like(allowed) if not rule.whole_words else ~special.is_continuation[input_ids]
    # Pieces share the number, and so the draw, of the word that they belong to.
    word = np.cumsum(starts, axis=1) - 1
    draws = np.take_along_axis(rng.random((rows, columns)), np.maximum(word, 0), axis=1)
    draws[~allowed] = 2.0
    lowest = draws.min(axis=1, keepdims=True)
    hidden = allowed & ((draws < rule.probability) | (draws == lowest))
    targets = np.where(hidden, input_ids, IGNORED).astype(np.int64)
    stand_in = np.full_like(input_ids, special.mask)
    if rule.replacement == "bert":
        fate = rng.random((rows, columns))
        others = rng.integers(0, len(special.is_continuation), size=(rows, columns), dtype=np.int32)
        stand_in = np.where(fate < 0.8, stand_in, np.where(fate < 0.9, others, input_ids))
    if rule.replacement == "plausible" and plausible is not None:
        # A piece of a longer word is always hidden: another piece would not make a word.
        before = np.roll(input_ids, 1, axis=1)
        is_whole = starts & ~special.is_continuation[np.roll(input_ids, -1, axis=1)]
        others = plausible.draw(before, input_ids, rng)
        stand_in = np.where(is_whole & (others >= 0) & (rng.random((rows, columns)) < 0.5), others, stand_in)
        targets = np.where(allowed, input_ids, targets).astype(np.int64)
    return np.where(hidden, stand_in, input_ids).astype(np.int32), targets
