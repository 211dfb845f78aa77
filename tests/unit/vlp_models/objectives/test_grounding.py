from __future__ import annotations

import math

import pytest
import torch
from vlp_models.objectives.grounding import GroundingHead, grounding_loss, place_loss


def test_scores_are_scaled_products_and_padding_is_impossible() -> None:
    torch.manual_seed(0)
    head = GroundingHead(8)
    words, patches = torch.randn(3, 8), torch.randn(3, 4, 8)
    is_patch = torch.tensor([[True, True, True, False]] * 3)
    scores = head(words, patches, is_patch)
    normal = torch.nn.functional.layer_norm
    expected = head.patches(normal(patches[1, 2], (8,))) @ head.words(normal(words[1], (8,))) / math.sqrt(8)
    assert scores[1, 2].item() == pytest.approx(expected.item(), rel=1e-5)
    assert scores[:, 3].tolist() == [-math.inf] * 3


def test_the_loss_is_a_mean_over_words_and_then_over_texts() -> None:
    scores = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]]))
    shares = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0.5, 0, 0.5]])
    found = grounding_loss(scores, shares, torch.tensor([0, 0, 2]), batch_size=4)
    first = (-math.log(0.5) - math.log(0.8)) / 2
    second = -0.5 * (math.log(0.2) + math.log(0.6))
    assert found.item() == pytest.approx((first + second) / 4, rel=1e-6)


def test_padding_and_texts_without_words_give_finite_gradients() -> None:
    scores = torch.tensor([[1.0, 2.0, -math.inf]], requires_grad=True)
    grounding_loss(scores, torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([0]), batch_size=2).backward()
    assert torch.isfinite(scores.grad).all()
    nothing = torch.zeros(0, 3, requires_grad=True)
    loss = grounding_loss(nothing, torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), batch_size=2)
    loss.backward()
    assert loss.item() == 0


def test_centres_count_where_they_are_known() -> None:
    centres = torch.tensor([[0.2, 0.4], [math.nan, math.nan]])
    found = torch.tensor([[0.5, 0.5], [9.0, 9.0]], requires_grad=True)
    loss = place_loss(found, centres)
    loss.backward()
    assert loss.item() == pytest.approx(0.3 + 0.1)
    assert found.grad[1].tolist() == [0.0, 0.0]
    assert place_loss(found, torch.full((2, 2), math.nan)).item() == 0
