"""Optimal transport between two sets of features: cosine cost and the inexact proximal point method.

It knows nothing of texts and pictures beyond two masks, so every family with word-patch or word-region alignment
uses it. All of it runs in float32: the exponential of the cost loses too much in half precision.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Transport(NamedTuple):
    """Cost and plan between text and image; float32."""

    cost: Tensor
    """(B, T, V): 1 - cosine, 0 where either side takes no part. Carries gradients."""
    plan: Tensor
    """(B, V, T): without gradients; 0 where either side takes no part."""
    distance: Tensor
    """(B,): trace(cost @ plan)."""


def transport(
    text_feats: Tensor,
    text_mask: Tensor,
    image_feats: Tensor,
    image_mask: Tensor,
    *,
    beta: float = 0.5,
    iterations: int = 50,
) -> Transport:
    """Transport each text to its picture.

    Args:
        text_feats: (B, T, D).
        text_mask: (B, T) bool, True = takes part.
        image_feats: (B, V, D).
        image_mask: (B, V) bool, True = takes part.
        beta: step of the proximal point method; the smaller, the sharper the plan.
        iterations: outer steps, with one inner step each.

    Returns:
        cost, plan, distance. The gradient of the distance flows through the cost alone.

    Source: Chen et al. 2020 (arXiv:1909.11740), sec. 3.2 and appendix; Xie et al. 2018 (arXiv:1802.04307).
    """
    joint_mask = text_mask[:, :, None] & image_mask[:, None, :]
    cost = cosine_cost(text_feats, image_feats).masked_fill(~joint_mask, 0)
    with torch.no_grad():
        plan = transport_plan(cost, text_mask, image_mask, beta=beta, iterations=iterations)
    distance = (cost * plan.transpose(1, 2)).sum(dim=(1, 2))
    return Transport(cost, plan, distance)


def cosine_cost(text_feats: Tensor, image_feats: Tensor) -> Tensor:
    """1 - cosine similarity of every pair: (B, T, D) and (B, V, D) to (B, T, V) float32."""
    text_units = F.normalize(text_feats.float(), dim=-1, eps=1e-5)
    image_units = F.normalize(image_feats.float(), dim=-1, eps=1e-5)
    return 1 - text_units @ image_units.transpose(1, 2)


def transport_plan(
    cost: Tensor, text_mask: Tensor, image_mask: Tensor, *, beta: float = 0.5, iterations: int = 50
) -> Tensor:
    """Solve for the plan that moves uniform mass over the text to uniform mass over the picture.

    Args:
        cost: (B, T, V) float32.
        text_mask: (B, T) bool.
        image_mask: (B, V) bool.
        beta: step of the proximal point method.
        iterations: outer steps.

    Returns:
        (B, V, T) float32; a row whose text or picture is empty has a plan of 0.
    """
    joint_mask = image_mask[:, :, None] & text_mask[:, None, :]
    # An empty side would divide by 0 and leave NaN, which the masks below would have to clean up.
    text_count = text_mask.sum(dim=1).clamp(min=1).to(cost.dtype)[:, None, None]
    image_count = image_mask.sum(dim=1).clamp(min=1).to(cost.dtype)[:, None, None]
    kernel = torch.exp(-cost.transpose(1, 2) / beta).masked_fill(~joint_mask, 0)
    plan = joint_mask.to(cost.dtype)
    text_scale = (text_mask.to(cost.dtype) / text_count[:, 0])[:, :, None]
    for _ in range(iterations):
        weighted = kernel * plan
        image_scale = _masked_inverse(image_count * (weighted @ text_scale), image_mask)
        text_scale = _masked_inverse(text_count * (weighted.transpose(1, 2) @ image_scale), text_mask)
        plan = image_scale * weighted * text_scale.transpose(1, 2)
    return plan.masked_fill(~joint_mask, 0)


def _masked_inverse(values: Tensor, mask: Tensor) -> Tensor:
    """1 / values (B, S, 1) where `mask` (B, S) is true and the value is not 0; 0 elsewhere."""
    usable = mask[:, :, None] & (values != 0)
    return torch.where(usable, 1 / torch.where(usable, values, 1), 0)
