"""The pooler of BERT: one vector for a whole sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pooler(nn.Module):
    """tanh of a linear map of the first position."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, S, D) to (B, D)."""
        return torch.tanh(self.dense(hidden[:, 0]))
