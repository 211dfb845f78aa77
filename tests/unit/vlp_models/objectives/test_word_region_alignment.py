from __future__ import annotations

import torch
from vlp_models.objectives.word_region_alignment import align_words_to_regions, word_region_alignment_loss


def test_special_tokens_take_part_and_padding_does_not() -> None:
    generator = torch.Generator().manual_seed(0)
    text_feats = torch.randn(1, 4, 6, generator=generator)
    region_feats = torch.randn(1, 3, 6, generator=generator)
    text_mask, region_mask = torch.tensor([[1, 1, 1, 0]]), torch.tensor([[1, 1, 0]])
    moved = align_words_to_regions(text_feats, text_mask, region_feats, region_mask)
    alone = align_words_to_regions(text_feats[:, :3], text_mask[:, :3], region_feats[:, :2], region_mask[:, :2])
    assert torch.allclose(moved.distance, alone.distance, atol=1e-6)
    assert moved.plan[0, :2, :3].gt(0).all()
    assert not moved.plan[0, 2].any()
    assert not moved.plan[0, :, 3].any()
    text_feats[:, 0] = -text_feats[:, 0]
    assert not torch.allclose(align_words_to_regions(text_feats, text_mask, region_feats, region_mask)[2], moved[2])


def test_true_pairs_are_drawn_together_and_others_apart() -> None:
    distance = torch.tensor([2.0, 5.0, 1.0])
    labels = torch.tensor([1, 0, 1])
    assert torch.allclose(word_region_alignment_loss(distance, labels), torch.tensor(0.1 * (2 - 5 + 1) / 3))
    assert torch.allclose(word_region_alignment_loss(distance, labels, 1.0), torch.tensor((2 - 5 + 1) / 3))
