from __future__ import annotations

import numpy as np
import pytest
from vlp_models.data.negatives import draw_false_pictures

IDS = np.array(
    [[2, 10, 11, 3, 0], [2, 10, 12, 3, 0], [2, 20, 21, 22, 3], [2, 20, 23, 3, 0], [2, 30, 31, 3, 0], [2, 30, 32, 3, 0]]
)
MASK = (IDS != 0).astype(np.int32)


@pytest.mark.parametrize("rule", ["random", "hard"])
def test_half_of_the_texts_get_a_picture_that_is_not_theirs(rule: str) -> None:
    pictures = np.array([7, 8, 9, 10, 11, 12])
    shown, labels = draw_false_pictures(pictures, IDS, MASK, rule, np.random.default_rng(0))
    assert sorted(labels.tolist()) == [0, 0, 0, 1, 1, 1]
    assert np.array_equal(shown == pictures, labels == 1)
    assert set(shown.tolist()) <= set(pictures.tolist())


def test_texts_of_one_picture_are_never_each_others_false_pair() -> None:
    pictures = np.array([5, 5, 5, 5, 5, 6])
    for seed in range(20):
        shown, labels = draw_false_pictures(pictures, IDS, MASK, "random", np.random.default_rng(seed))
        assert np.array_equal(shown == pictures, labels == 1)


def test_a_batch_of_one_picture_has_no_false_pair() -> None:
    pictures = np.full(6, 5)
    shown, labels = draw_false_pictures(pictures, IDS, MASK, "hard", np.random.default_rng(0))
    assert (shown == 5).all()
    assert (labels == 1).all()


def test_hard_pictures_are_those_of_like_texts() -> None:
    ids = np.array([[2, word, 3] for word in [10] * 4 + [20] * 4])
    pictures = np.arange(8)
    for seed in range(20):
        shown, _ = draw_false_pictures(pictures, ids, np.ones_like(ids), "hard", np.random.default_rng(seed))
        assert np.array_equal(shown // 4, pictures // 4)
