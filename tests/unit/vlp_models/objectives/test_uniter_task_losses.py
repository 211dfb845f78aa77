from __future__ import annotations

import math

import pytest
import torch
from vlp_models.objectives.referring_expression import referring_expression_loss
from vlp_models.objectives.triplet_ranking import triplet_ranking_loss
from vlp_models.objectives.visual_commonsense import visual_commonsense_loss
from vlp_models.objectives.visual_entailment import entailment_loss


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_every_label_of_a_hypothesis_is_a_question_of_its_own() -> None:
    logits = [[2.0, -1.0, 0.5], [0.0, 1.0, -2.0]]
    right = [2, 1]
    terms = [
        -math.log(_sigmoid(value if label == right[row] else -value))
        for row, values in enumerate(logits)
        for label, value in enumerate(values)
    ]
    loss = entailment_loss(torch.tensor(logits), torch.tensor(right))
    assert loss.item() == pytest.approx(sum(terms) / 2, abs=1e-6)


def test_a_pair_that_is_ahead_by_the_margin_costs_nothing() -> None:
    # Sigmoids: 0.8808, 0.1192, 0.7311.
    scores = torch.tensor([[2.0, -2.0, 1.0]])
    expected = (0 + 0.2 + _sigmoid(1) - _sigmoid(2)) / 2
    assert triplet_ranking_loss(scores).item() == pytest.approx(expected, abs=1e-6)
    assert triplet_ranking_loss(scores, margin=0.1).item() == 0


def test_the_regions_of_a_picture_compete_without_the_padding() -> None:
    scores = torch.tensor([[1.0, 3.0, 0.0], [2.0, 1.0, -math.inf]])
    first = -math.log(math.exp(3) / (math.exp(1) + math.exp(3) + 1))
    second = -math.log(math.exp(2) / (math.exp(2) + math.exp(1)))
    loss = referring_expression_loss(scores, torch.tensor([1, 0]))
    assert loss.item() == pytest.approx((first + second) / 2, abs=1e-6)


def test_a_choice_is_right_at_index_one() -> None:
    logits = torch.tensor([[0.0, 3.0], [3.0, 0.0]])
    assert visual_commonsense_loss(logits, torch.tensor([1, 0])).item() == pytest.approx(math.log1p(math.exp(-3)))
