from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from vlp_models.objectives.language_modelling import language_modelling_loss, next_tokens

START, END, PAD = 9, 3, 0


def test_each_token_is_said_after_those_before_it() -> None:
    ids = torch.tensor([[START, 5, 6, END], [START, 7, END, PAD]])
    read, said, is_said = next_tokens(ids, ids != PAD, num_given=1)
    assert read.tolist() == [[START, 5, 6], [START, 7, END]]
    assert said.tolist() == [[5, 6, END], [7, END, PAD]]
    assert is_said.tolist() == [[True, True, True], [True, True, False]]


def test_a_prompt_is_read_and_not_said() -> None:
    ids = torch.tensor([[START, 11, 12, 5, END]])  # two tokens of a prompt
    read, said, is_said = next_tokens(ids, torch.ones_like(ids), num_given=3)
    assert read[is_said].tolist() == [12, 5]
    assert said[is_said].tolist() == [5, END]


def _by_hand(logits: Tensor, said: int, smoothing: float) -> float:
    shares = [math.exp(value) for value in logits.tolist()]
    logs = [math.log(share / sum(shares)) for share in shares]
    wanted = [smoothing / len(logs)] * len(logs)
    wanted[said] += 1 - smoothing
    return -sum(share * value for share, value in zip(wanted, logs, strict=True))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_sum_of_cross_entropies(smoothing: float) -> None:
    logits, said = torch.tensor([[0.5, -1.0, 2.0], [0.0, 0.0, 1.0]]), torch.tensor([2, 0])
    expected = sum(_by_hand(row, int(word), smoothing) for row, word in zip(logits, said, strict=True))
    assert language_modelling_loss(logits, said, smoothing).item() == pytest.approx(expected, rel=1e-5)
