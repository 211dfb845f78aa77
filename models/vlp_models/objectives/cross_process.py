"""Rows of all processes in one tensor, with gradients back to the process that each row came from."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor


class GatheredRows(NamedTuple):
    """All processes' rows."""

    rows: Tensor
    """(G, D): process 0's rows, then process 1's, and so on."""
    first: int
    """Where this process's own rows begin."""


def gather_rows(rows: Tensor) -> GatheredRows:
    """Gather equally many rows from every process; alone, the rows themselves.

    Where the loss of a run is the mean of its processes' losses, gradients averaged over processes are those of one
    process with the whole batch: the backward pass sums what every process's loss says about a row.

    Args:
        rows: (B, D), the same shape on every process.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return GatheredRows(rows, 0)
    return GatheredRows(_Gather.apply(rows), dist.get_rank() * rows.shape[0])


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]
