from __future__ import annotations

import numpy as np
import pytest
from vlp_models.data.masking import IGNORED, MaskingRule, PlausibleWords, mask_tokens
from vlp_models.data.tokens import SpecialTokens, TokenStore

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


def _texts(*rows: list[int]) -> TokenStore:
    return TokenStore.encode(map(str, range(len(rows))), lambda number: np.array(rows[int(number)]), pad_id=0)


def test_plausible_words_stand_between_the_same_tokens_in_some_text() -> None:
    words = PlausibleWords.of(_texts([2, 10, 11, 3], [2, 10, 12, 3], [2, 10, 12, 3], [2, 13, 20, 3]), SPECIAL)

    def draw(before: int, token: int, after: int) -> set[int]:
        places = [np.full(600, value, dtype=np.int32) for value in (before, token, after)]
        return set(words.draw(*places, np.random.default_rng(0)).tolist())

    assert draw(10, 11, 3) == {12, -1}  # never the word itself
    assert draw(10, 40, 3) == {11, 12}
    assert draw(2, 40, 20) == {-1}  # a piece of a longer word
    assert draw(30, 40, 31) == {-1}  # a place that no text has
    nothing = PlausibleWords.of(_texts([2, 3]), SPECIAL)
    assert (nothing.draw(np.array([2]), np.array([5]), np.array([3]), np.random.default_rng(0)) == -1).all()


def test_plausible_replacement_predicts_all_words_and_changes_half_of_the_hidden_ones_to_others() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(10, 20, size=(300, 40)).astype(np.int32)
    ids[:, 0] = SPECIAL.cls
    words = PlausibleWords.of(_texts(*ids.tolist()), SPECIAL)
    rule = MaskingRule(0.4, replacement="plausible")
    masked, targets = mask_tokens(ids, np.ones_like(ids), SPECIAL, rule, np.random.default_rng(1), words)
    assert np.array_equal(targets[:, 1:], ids[:, 1:])
    assert (targets[:, 0] == IGNORED).all()
    shown, true = masked[:, 1:], ids[:, 1:]
    # One draw in ten is the word itself; the last token of a row stands between no two.
    assert (shown == SPECIAL.mask).mean() == pytest.approx(0.22, abs=0.02)
    assert ((shown != true) & (shown != SPECIAL.mask)).mean() == pytest.approx(0.18, abs=0.02)


def test_pieces_of_a_longer_word_are_hidden_and_not_exchanged() -> None:
    words = PlausibleWords.of(_texts(*IDS.tolist()), SPECIAL)
    masked, _ = mask_tokens(
        IDS, MASK, SPECIAL, MaskingRule(0.5, replacement="plausible"), np.random.default_rng(0), words
    )
    pieces = masked[::2, 1:4]
    assert np.isin(pieces, [10, 20, 21, SPECIAL.mask]).all()
