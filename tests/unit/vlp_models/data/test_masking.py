from __future__ import annotations

import numpy as np
import pytest
from vlp_models.data.masking import IGNORED, MaskingRule, mask_tokens
from vlp_models.data.tokens import SpecialTokens

CONTINUATION = np.zeros(50, dtype=bool)
CONTINUATION[[20, 21]] = True
SPECIAL = SpecialTokens(pad=0, cls=2, sep=3, mask=4, is_continuation=CONTINUATION)
IDS = np.array([[2, 10, 20, 21, 11, 12, 3], [2, 13, 14, 3, 0, 0, 0]] * 200, dtype=np.int32)
MASK = (IDS != 0).astype(np.int32)


def _draw(rule: MaskingRule, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return mask_tokens(IDS, MASK, SPECIAL, rule, np.random.default_rng(seed))


def test_targets_are_the_hidden_words_and_special_tokens_stay() -> None:
    before = IDS.copy()
    masked, targets = _draw(MaskingRule(0.5))
    hidden = targets != IGNORED
    assert np.array_equal(IDS, before)
    assert np.array_equal(targets[hidden], IDS[hidden])
    assert np.array_equal(masked[~hidden], IDS[~hidden])
    assert not (hidden & np.isin(IDS, [0, 2, 3])).any()


def test_every_text_has_a_hidden_word() -> None:
    _, targets = _draw(MaskingRule(0.01))
    assert ((targets != IGNORED).sum(axis=1) >= 1).all()


def test_a_text_without_words_has_none() -> None:
    ids = np.array([[2, 3]], dtype=np.int32)
    masked, targets = mask_tokens(ids, np.ones_like(ids), SPECIAL, MaskingRule(), np.random.default_rng(0))
    assert masked.tolist() == [[2, 3]]
    assert (targets == IGNORED).all()


def test_whole_words_are_hidden_together() -> None:
    _, targets = _draw(MaskingRule(0.4))
    pieces = targets[::2, 1:4] != IGNORED
    assert (pieces.all(axis=1) | ~pieces.any(axis=1)).all()
    _, single = _draw(MaskingRule(0.4, whole_words=False))
    pieces = single[::2, 1:4] != IGNORED
    assert (pieces.any(axis=1) & ~pieces.all(axis=1)).any()


@pytest.mark.parametrize("probability", [0.15, 0.4])
def test_the_share_of_hidden_words_is_the_probability(probability: float) -> None:
    ids = np.random.default_rng(0).integers(10, 20, size=(300, 40)).astype(np.int32)
    _, targets = mask_tokens(ids, np.ones_like(ids), SPECIAL, MaskingRule(probability), np.random.default_rng(1))
    assert (targets != IGNORED).mean() == pytest.approx(probability, abs=0.01)


def test_replacement_is_80_10_10_or_the_mask_alone() -> None:
    ids = np.random.default_rng(0).integers(10, 20, size=(300, 40)).astype(np.int32)
    masked, targets = mask_tokens(ids, np.ones_like(ids), SPECIAL, MaskingRule(0.5), np.random.default_rng(1))
    hidden = targets != IGNORED
    assert (masked[hidden] == SPECIAL.mask).mean() == pytest.approx(0.8, abs=0.03)
    assert (masked[hidden] == ids[hidden]).mean() == pytest.approx(0.1, abs=0.03)
    rule = MaskingRule(0.5, replacement="mask")
    masked, targets = mask_tokens(ids, np.ones_like(ids), SPECIAL, rule, np.random.default_rng(1))
    assert (masked[targets != IGNORED] == SPECIAL.mask).all()
