from __future__ import annotations

import torch
from torch.nn import functional as F
from vlp_models.objectives.optimal_transport import cosine_cost, transport, transport_plan


def test_the_cost_is_one_minus_cosine() -> None:
    text, image = torch.randn(1, 3, 5), torch.randn(1, 4, 5)
    expected = 1 - F.cosine_similarity(text[0][:, None], image[0][None], dim=-1)
    assert torch.allclose(cosine_cost(text, image)[0], expected, atol=1e-6)


def test_the_plan_moves_uniform_mass_to_uniform_mass() -> None:
    cost = torch.rand(1, 3, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 4, dtype=torch.bool)
    plan = transport_plan(cost, *mask, iterations=500)[0]
    assert torch.allclose(plan.sum(0), torch.full((3,), 1 / 3), atol=1e-3)
    assert torch.allclose(plan.sum(1), torch.full((4,), 1 / 4), atol=1e-3)


def test_equal_sets_are_matched_one_to_one() -> None:
    feats = torch.eye(4)[None]
    mask = torch.ones(1, 4, dtype=torch.bool)
    moved = transport(feats, mask, feats[:, [2, 0, 3, 1]], mask, beta=0.1, iterations=200)
    assert moved.distance.abs().max() < 1e-3
    assert torch.allclose(moved.plan[0].argmax(dim=1), torch.tensor([2, 0, 3, 1]))


def test_masked_positions_take_no_part() -> None:
    text, image = torch.randn(2, 5, 6), torch.randn(2, 4, 6)
    text_mask = torch.tensor([[True] * 5, [True, True, False, False, True]])
    image_mask = torch.tensor([[True] * 4, [False, True, True, False]])
    together = transport(text, text_mask, image, image_mask)
    alone = transport(
        text[1:, text_mask[1]],
        torch.ones(1, 3, dtype=torch.bool),
        image[1:, image_mask[1]],
        torch.ones(1, 2, dtype=torch.bool),
    )
    assert torch.allclose(together.distance[1], alone.distance[0], atol=1e-6)
    assert torch.allclose(together.plan[1][image_mask[1]][:, text_mask[1]], alone.plan[0], atol=1e-6)
    assert not together.plan[1][~image_mask[1]].any()
    assert not together.cost[1][~text_mask[1]].any()


def test_an_empty_side_costs_nothing_and_stays_finite() -> None:
    text = torch.randn(1, 3, 4, requires_grad=True)
    moved = transport(text, torch.zeros(1, 3, dtype=torch.bool), torch.randn(1, 2, 4), torch.ones(1, 2).bool())
    moved.distance.sum().backward()
    assert moved.distance.item() == 0
    assert not moved.plan.any()
    assert text.grad is not None
    assert text.grad.isfinite().all()


def test_the_gradient_flows_through_the_cost_alone_and_in_single_precision() -> None:
    text = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(1, 3, dtype=torch.bool)
    moved = transport(text, mask, torch.randn(1, 3, 4, dtype=torch.float64), mask)
    assert moved.distance.dtype == torch.float32
    assert not moved.plan.requires_grad
    moved.distance.sum().backward()
    assert text.grad is not None
    assert text.grad.abs().sum() > 0
