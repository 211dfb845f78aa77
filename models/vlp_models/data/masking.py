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
    """Which words stand between which two tokens in the training texts.

    Attributes:
        vocabulary: number of token ids.
        places: (places,) int64, sorted; each is token before * vocabulary + token after.
        offsets: (places + 1,) int64; the words of place i are words[offsets[i]:offsets[i + 1]].
        words: int32, one entry an occurrence.
    """

    vocabulary: int
    places: np.ndarray
    offsets: np.ndarray
    words: np.ndarray

    @classmethod
    def of(cls, tokens: TokenStore, special: SpecialTokens) -> PlausibleWords:
        """Collect whole words; pieces of a longer word stand nowhere."""
        vocabulary = len(special.is_continuation)
        is_inner = np.ones(len(tokens.ids), dtype=bool)
        is_inner[tokens.offsets[:-1][tokens.lengths > 0]] = False
        is_inner[tokens.offsets[1:][tokens.lengths > 0] - 1] = False
        middle = np.flatnonzero(is_inner)
        pieces = special.is_continuation
        middle = middle[~pieces[tokens.ids[middle]] & ~pieces[tokens.ids[middle + 1]]]
        found = tokens.ids[middle - 1].astype(np.int64) * vocabulary + tokens.ids[middle + 1]
        order = np.argsort(found, kind="stable")
        places, firsts = np.unique(found[order], return_index=True)
        return cls(vocabulary, places, np.append(firsts, len(order)), tokens.ids[middle[order]])

    def draw(self, before: np.ndarray, tokens: np.ndarray, after: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For each token (...) another that stands between its neighbours somewhere; -1 where none was drawn."""
        if not len(self.places):
            return np.full(tokens.shape, -1, dtype=np.int32)
        place = before.astype(np.int64) * self.vocabulary + after
        index = np.minimum(np.searchsorted(self.places, place), len(self.places) - 1)
        chances = rng.random(place.shape)
        count = self.offsets[index + 1] - self.offsets[index]
        drawn = self.words[self.offsets[index] + (chances * count).astype(np.int64)]
        return np.where((self.places[index] == place) & (drawn != tokens), drawn, -1).astype(np.int32)


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
        before, after = np.roll(input_ids, 1, axis=1), np.roll(input_ids, -1, axis=1)
        others = plausible.draw(before, input_ids, after, rng)
        others[special.is_continuation[input_ids] | special.is_continuation[after]] = -1
        stand_in = np.where((others >= 0) & (rng.random((rows, columns)) < 0.5), others, stand_in)
        targets = np.where(allowed, input_ids, targets).astype(np.int64)
    return np.where(hidden, stand_in, input_ids).astype(np.int32), targets
