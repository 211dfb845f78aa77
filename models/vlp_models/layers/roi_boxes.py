"""Geometry of boxes in torch, for training: overlap, and the regression targets that `decode_boxes` undoes.

Boxes are (..., 4) float32: x0, y0, x1, y1 in pixels, continuous.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pairwise_iou(left: Tensor, right: Tensor) -> Tensor:
    """Intersection over union of every pair: (N, 4) and (M, 4) to (N, M); 0 where both are empty."""
    top_left = torch.maximum(left[:, None, :2], right[None, :, :2])
    bottom_right = torch.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(dim=2)
    left_area, right_area = ((boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (left, right))
    union = left_area[:, None] + right_area[None, :] - shared
    return torch.where(union > 0, shared / union, torch.zeros_like(shared))


def encode_boxes(boxes: Tensor, targets: Tensor, weights: Sequence[float]) -> Tensor:
    """How boxes have to move and grow to become others.

    Args:
        boxes: (N, 4), of sides above 0.
        targets: (N, 4), likewise.
        weights: four factors of the result; 1 for anchors, (10, 10, 5, 5) for regions.

    Returns:
        (N, 4): shift of the middle in widths and heights, logarithms of the growth of both sides, times the weights.

    Source: Girshick et al. 2014 (arXiv:1311.2524), appendix C.
    """
    sizes, target_sizes = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    shifts = (targets[:, :2] + 0.5 * target_sizes - boxes[:, :2] - 0.5 * sizes) / sizes
    deltas = torch.cat([shifts, torch.log(target_sizes / sizes)], dim=1)
    return deltas * torch.tensor(tuple(weights), dtype=deltas.dtype, device=deltas.device)
