"""An exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Average of a model's weights, which is often better than the last ones.

    Args:
        model: whose parameters are followed.
        decay: weight of the past in each update, below 1. Early updates use less, so that the start is forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self.shadow = {name: value.detach().clone() for name, value in model.named_parameters()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the current weights; `step` counts from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in self._model.named_parameters():
            self.shadow[name].lerp_(value.detach(), 1 - decay)

    @torch.no_grad()
    def apply(self) -> None:
        """Put the average into the model for good."""
        for name, value in self._model.named_parameters():
            value.copy_(self.shadow[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model holds the average inside, and its own weights again afterwards."""
        own: dict[str, Tensor] = {}
        for name, value in self._model.named_parameters():
            own[name] = value.detach().clone()
        self.apply()
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in self._model.named_parameters():
                    value.copy_(own[name])
