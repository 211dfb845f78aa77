from __future__ import annotations

import numpy as np
import pytest
import torch
from vlp_models.objectives.contrastive import contrastive_loss
from vlp_models.objectives.momentum_queue import EmbeddingQueue, SlowEncoder, momentum_contrastive_loss

RNG = np.random.default_rng(1)
SIMILARITIES, SLOW = RNG.normal(size=(2, 4)), RNG.normal(size=(2, 4))
TARGETS = torch.tensor([0, 2])


def _softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values)
    return np.asarray(powers / powers.sum())


def test_soft_targets_against_numpy() -> None:
    excluded = np.array([[False, False, True, False], [False] * 4])
    losses = []
    for row, target in enumerate((0, 2)):
        kept = [column for column in range(4) if not excluded[row, column]]
        wanted = 0.4 * _softmax(SLOW[row, kept]) + 0.6 * (np.array(kept) == target)
        losses.append(-(wanted * np.log(_softmax(SIMILARITIES[row, kept]))).sum())
    found = momentum_contrastive_loss(
        torch.from_numpy(SIMILARITIES), torch.from_numpy(SLOW), TARGETS, alpha=0.4, excluded=torch.from_numpy(excluded)
    )
    assert found.item() == pytest.approx(np.mean(losses))


def test_without_soft_targets_it_is_info_nce() -> None:
    similarities = torch.from_numpy(SIMILARITIES)
    found = momentum_contrastive_loss(similarities, torch.from_numpy(SLOW), TARGETS, alpha=0.0)
    assert found.item() == pytest.approx(contrastive_loss(similarities, TARGETS).item())


def test_the_gradient_is_finite_beside_excluded_pairs() -> None:
    similarities = torch.from_numpy(SIMILARITIES).requires_grad_()
    excluded = torch.tensor([[False, True, True, True], [False] * 4])
    momentum_contrastive_loss(similarities, torch.from_numpy(SLOW), TARGETS, alpha=0.4, excluded=excluded).backward()
    assert similarities.grad is not None
    assert torch.isfinite(similarities.grad).all()


def test_the_slow_encoder_follows_without_gradients() -> None:
    encoder = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(encoder.weight)
    slow = SlowEncoder(encoder, decay=0.75)
    torch.nn.init.ones_(encoder.weight)
    slow.update(encoder)
    slow.update(encoder)
    assert slow.encoder.get_parameter("weight").item() == pytest.approx(1 - 0.75**2)
    assert not any(parameter.requires_grad for parameter in slow.parameters())


def test_the_queue_keeps_the_newest_pairs() -> None:
    queue = EmbeddingQueue(3, 2)
    assert queue.is_empty_at.all()
    for first in (0, 2):
        numbers = torch.tensor([first, first + 1])
        embeds = numbers[:, None].repeat(1, 2).float()
        queue.push(embeds, -embeds, numbers, numbers + 10)
    assert queue.picture_groups.tolist() == [3, 1, 2]
    assert queue.text_groups.tolist() == [13, 11, 12]
    assert queue.image_embeds[:, 0].tolist() == [3, 1, 2]
    assert queue.text_embeds[:, 1].tolist() == [-3, -1, -2]
    assert not queue.is_empty_at.any()
    queue.push(torch.arange(5)[:, None].repeat(1, 2).float(), torch.zeros(5, 2), torch.arange(5), torch.arange(5))
    assert sorted(queue.picture_groups.tolist()) == [2, 3, 4]
