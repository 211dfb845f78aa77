"""A model with its objectives: what the training loop steps on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

Batch = Mapping[str, Mapping[str, Tensor]]
Weighted = dict[str, tuple[Tensor, float]]

_MODEL_PREFIX = "model."


class ObjectiveLosses(nn.Module, ABC):
    """A model with its objectives, so that one forward pass goes through DistributedDataParallel.

    The mean of the losses over processes is the loss of the whole batch: each of them is a mean over rows, or is
    scaled by a count over all processes. Parameters besides the model's train with it and stay behind at the end.

    Attributes:
        model: with the heads that the objectives need.
        head_prefixes: how the names of heads begin, here and in the model; they may learn at a rate of their own.
    """

    model: nn.Module
    head_prefixes: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            batch: stream name -> its arrays as tensors.

        Returns:
            "loss", with gradients, and every objective's own loss and accuracy, detached; all float32 scalars.
        """

    def after_step(self) -> None:
        """Called after every step of the optimizer, the same on all processes."""

    def trainable(self) -> dict[str, nn.Parameter]:
        """Every parameter that is trained, the model's under their own names."""
        named = self.named_parameters()
        return {name.removeprefix(_MODEL_PREFIX): value for name, value in named if value.requires_grad}

    def own_state(self) -> dict[str, Tensor]:
        """State that is not the model's: heads for training alone, slow encoders, queues."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith(_MODEL_PREFIX)}

    def load_own_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `own_state` gave.

        Raises:
            KeyError: other names.
        """
        own = self.own_state()
        if own.keys() != state.keys():
            raise KeyError(f"state of the objectives: expected {sorted(own)}, got {sorted(state)}")
        for name, value in own.items():
            value.copy_(state[name])


def total_loss(losses: Weighted, metrics: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `ObjectiveLosses.forward` returns, from (loss, weight) by objective and from metrics."""
    total = torch.stack([loss * weight for loss, weight in losses.values()]).sum()
    return {"loss": total, **{name: loss.detach() for name, (loss, _) in losses.items()}, **metrics}


def share_of(hits: Tensor) -> Tensor:
    """Mean of bools as a detached float32 scalar; 0 of none."""
    return hits.float().mean().detach() if hits.numel() else torch.zeros((), device=hits.device)


def words_among_best(logits: Tensor, words: Tensor) -> Tensor:
    """Share of regions' words that are among as many best words as the region has.

    Args:
        logits: (R, vocabulary).
        words: (W, 2) int64, the region and the word's id.
    """
    counts = torch.bincount(words[:, 0], minlength=len(logits))
    ranks = (logits[words[:, 0]] > logits[words[:, 0], words[:, 1]][:, None]).sum(dim=1)
    return share_of(ranks < counts[words[:, 0]])
