"""The losses against plain numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from vlp_models.objectives.contrastive import clamp_scale, contrastive_loss, equal_groups
from vlp_models.objectives.cross_process import gather_rows
from vlp_models.objectives.sigmoid_contrastive import sigmoid_contrastive_loss

RNG = np.random.default_rng(0)
SIMILARITIES = RNG.normal(size=(3, 5)) * 3
TARGETS = np.array([1, 2, 3])
EXCLUDED = np.zeros((3, 5), dtype=bool)
EXCLUDED[0, [1, 4]] = EXCLUDED[2, 0] = True  # a row's own key counts although it is marked


def _info_nce(excluded: np.ndarray) -> float:
    losses = []
    for row, target in enumerate(TARGETS):
        kept = [column for column in range(5) if column == target or not excluded[row, column]]
        total = sum(math.exp(SIMILARITIES[row, column]) for column in kept)
        losses.append(math.log(total) - SIMILARITIES[row, target])
    return float(np.mean(losses))


@pytest.mark.parametrize("excluded", [None, EXCLUDED])
def test_info_nce(excluded: np.ndarray | None) -> None:
    mask = None if excluded is None else torch.from_numpy(excluded)
    found = contrastive_loss(torch.from_numpy(SIMILARITIES), torch.from_numpy(TARGETS), mask)
    assert found.item() == pytest.approx(_info_nce(np.zeros((3, 5), bool) if excluded is None else excluded))


@pytest.mark.parametrize("excluded", [None, EXCLUDED])
def test_sigmoid(excluded: np.ndarray | None) -> None:
    total = 0.0
    for row in range(3):
        for column in range(5):
            own = column == TARGETS[row]
            if own or excluded is None or not excluded[row, column]:
                total += math.log1p(math.exp(-SIMILARITIES[row, column] * (1 if own else -1)))
    mask = None if excluded is None else torch.from_numpy(excluded)
    found = sigmoid_contrastive_loss(torch.from_numpy(SIMILARITIES), torch.from_numpy(TARGETS), mask)
    assert found.item() == pytest.approx(total / 3)


def test_an_excluded_pair_has_no_gradient() -> None:
    similarities = torch.from_numpy(SIMILARITIES).requires_grad_()
    contrastive_loss(similarities, torch.from_numpy(TARGETS), torch.from_numpy(EXCLUDED)).backward()
    assert similarities.grad is not None
    assert similarities.grad[0, 4] == 0
    assert similarities.grad[0, 1] < 0


def test_groups_meet_where_they_are_equal() -> None:
    assert equal_groups(torch.tensor([4, 7]), torch.tensor([7, 4, 7])).tolist() == [[0, 1, 0], [1, 0, 1]]


def test_the_scale_stays_at_a_hundred() -> None:
    scale = torch.nn.Parameter(torch.tensor(9.0))
    clamp_scale(scale)
    assert scale.exp().item() == pytest.approx(100)
    scale = torch.nn.Parameter(torch.tensor(2.0))
    clamp_scale(scale)
    assert scale.item() == 2


def test_alone_the_rows_are_all_rows() -> None:
    rows = torch.ones(2, 3, requires_grad=True)
    gathered = gather_rows(rows)
    assert gathered.rows is rows
    assert gathered.first == 0
