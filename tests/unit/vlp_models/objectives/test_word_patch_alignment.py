from __future__ import annotations

import torch
from vlp_models.objectives.word_patch_alignment import (
    align_words_to_patches,
    patch_mask,
    word_mask,
    word_patch_alignment_loss,
)


def test_only_words_take_part() -> None:
    text_mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.int32)
    words = [[False, True, True, False, False], [False] * 5, [False, True, True, True, False]]
    assert word_mask(text_mask).tolist() == words


def test_the_image_cls_takes_no_part_and_the_given_mask_is_kept() -> None:
    mask = torch.tensor([[True, True, False]])
    assert patch_mask(mask).tolist() == [[False, True, False]]
    assert mask[0, 0]


def test_true_pairs_are_drawn_together_and_others_apart() -> None:
    distance = torch.tensor([2.0, 5.0, 1.0])
    loss = word_patch_alignment_loss(distance, torch.tensor([1, 0, 1]))
    assert torch.allclose(loss, torch.tensor(0.1 * (2 - 5 + 1) / 3))


def test_features_of_special_positions_do_not_matter() -> None:
    text_feats, image_feats = torch.randn(1, 4, 6), torch.randn(1, 3, 6)
    text_mask, image_mask = torch.ones(1, 4, dtype=torch.int32), torch.ones(1, 3, dtype=torch.bool)
    before = align_words_to_patches(text_feats, text_mask, image_feats, image_mask).distance
    text_feats[:, 0], text_feats[:, 3], image_feats[:, 0] = 9.0, -9.0, 9.0
    after = align_words_to_patches(text_feats, text_mask, image_feats, image_mask).distance
    assert torch.equal(before, after)
