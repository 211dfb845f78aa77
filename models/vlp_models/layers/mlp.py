"""The two-layer perceptron of a transformer block."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Mlp(nn.Module):
    """Linear, GELU by the error function, Linear; names are those of timm's vision transformers.

    Args:
        hidden_size: width D in and out.
        inner_size: width between.
        dropout: probability after each layer, while training only.
    """

    def __init__(self, hidden_size: int, inner_size: int, *, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(hidden_size, inner_size)
        self.fc2 = nn.Linear(inner_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return self.dropout(self.fc2(self.dropout(F.gelu(self.fc1(hidden)))))
