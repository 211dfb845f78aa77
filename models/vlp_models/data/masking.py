"""Masked language modelling's inputs and targets, drawn in numpy so that every process draws the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vlp_models.data.tokens import SpecialTokens

IGNORED = -100
REPLACEMENTS = ("bert", "mask")


@dataclass(frozen=True)
class MaskingRule:
    """How words are hidden.

    Attributes:
        probability: share of words (or pieces) that are predicted.
        whole_words: all pieces of a word together, as the released ViLT weights were trained.
        replacement: "bert" = 80 % [MASK], 10 % another token, 10 % unchanged; "mask" = always [MASK].
    """

    probability: float = 0.15
    whole_words: bool = True
    replacement: str = "bert"


def mask_tokens(
    input_ids: np.ndarray,
    text_mask: np.ndarray,
    special: SpecialTokens,
    rule: MaskingRule,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Hide some words of a batch; every text with a word has at least one hidden.

    Args:
        input_ids: (B, T) int32; not changed.
        text_mask: (B, T), 1 = token.
        special: ids of the tokenizer; [CLS] and [SEP] are never hidden.
        rule: how many, and what stands in their place.
        rng: the source of chance.

    Returns:
        Masked ids (B, T) int32 and targets (B, T) int64: the original id where it is to be predicted, else -100.

    Source: Devlin et al. 2018 (arXiv:1810.04805), sec. 3.1; whole words: Kim et al. 2021 (arXiv:2102.03334), 3.3.
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
    return np.where(hidden, stand_in, input_ids).astype(np.int32), targets
