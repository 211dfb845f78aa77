"""Learning to propose regions: which anchors hold something, and how they have to move.

Sources: Ren et al. 2015 (arXiv:1506.01497), sec. 3.1.2-3.1.3; thresholds of its published code. Anchors that reach
beyond the picture take part, as in Detectron2 (the original leaves them out): small pictures have many of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vlp_models.layers.roi_boxes import encode_boxes, pairwise_iou

POSITIVE_IOU, NEGATIVE_IOU = 0.7, 0.3
POSITIVE_SHARE = 0.5
SMOOTH_L1_BETA = 1 / 9  # sigma 3 of the published code
_UNIT_WEIGHTS = (1.0, 1.0, 1.0, 1.0)


class ProposalLosses(NamedTuple):
    """Means over the sampled anchors of a batch, float32."""

    objectness: Tensor
    boxes: Tensor


def match_anchors(anchors: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Compare every anchor with what is in the picture.

    An anchor is positive where it overlaps a box by 0.7 or more, or where no anchor overlaps that box better; negative
    where it overlaps all of them by less than 0.3; the others count for nothing.

    Args:
        anchors: (N, 4).
        boxes: (M, 4), M may be 0.

    Returns:
        labels (N,) int64: 1, 0, or -1 for an anchor that counts for nothing; and the box (N,) int64 that each overlaps
        most.
    """
    if not len(boxes):
        nothing = torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device)
        return nothing, nothing
    overlaps = pairwise_iou(anchors, boxes)
    best, matches = overlaps.max(dim=1)
    labels = torch.full_like(matches, -1)
    labels[best < NEGATIVE_IOU] = 0
    best_of_box = overlaps.max(dim=0).values
    # A box that no anchor touches makes no anchor positive.
    labels[((overlaps == best_of_box) & (best_of_box > 0)).any(dim=1)] = 1
    labels[best >= POSITIVE_IOU] = 1
    return labels, matches


def sample_labels(
    labels: Tensor, count: int, positive_share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw positives, and negatives in the place of those that lack.

    Args:
        labels: (N,) int; above 0 is positive, 0 negative, below neither.
        count: to draw at most.
        positive_share: of `count`, at most.
        generator: the source of chance.

    Returns:
        indices of positives and of negatives, int64.
    """
    positives, negatives = torch.nonzero(labels > 0)[:, 0], torch.nonzero(labels == 0)[:, 0]
    positives = _draw(positives, round(count * positive_share), generator)
    return positives, _draw(negatives, count - len(positives), generator)


def _draw(items: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return items[torch.randperm(len(items), generator=generator).to(items.device)[:count]]


def region_proposal_losses(
    objectness: Tensor,
    anchor_deltas: Tensor,
    anchors: Tensor,
    boxes: Sequence[Tensor],
    *,
    anchors_per_picture: int,
    generator: torch.Generator,
) -> ProposalLosses:
    """Cross entropy of the sampled anchors, and smooth L1 of the positive ones, over the number sampled.

    Args:
        objectness: (B, A, h, w) logits.
        anchor_deltas: (B, 4 * A, h, w).
        anchors: (h * w * A, 4), cell by cell, as `grid_anchors` gives them.
        boxes: of each picture (M, 4), pixels.
        anchors_per_picture: sampled; 256 in the paper, 64 for the published detector.
        generator: the source of chance.
    """
    logits = objectness.permute(0, 2, 3, 1).flatten(1)
    batch, num_anchors, rows, columns = objectness.shape
    deltas = anchor_deltas.reshape(batch, num_anchors, 4, rows, columns).permute(0, 3, 4, 1, 2).flatten(1, 3)
    picked_logits, picked_labels, picked_deltas, targets = [], [], [], []
    for picture, truth in enumerate(boxes):
        labels, matches = match_anchors(anchors, truth)
        positives, negatives = sample_labels(labels, anchors_per_picture, POSITIVE_SHARE, generator)
        picked_logits.append(logits[picture, torch.cat([positives, negatives])])
        picked_labels += [torch.ones_like(positives), torch.zeros_like(negatives)]
        picked_deltas.append(deltas[picture, positives])
        if len(positives):
            targets.append(encode_boxes(anchors[positives], truth[matches[positives]], _UNIT_WEIGHTS))
    all_logits, all_deltas = torch.cat(picked_logits).float(), torch.cat(picked_deltas).float()
    sampled = max(len(all_logits), 1)
    classified = F.binary_cross_entropy_with_logits(all_logits, torch.cat(picked_labels).float(), reduction="sum")
    wanted = torch.cat(targets) if targets else all_deltas.detach()
    regressed = F.smooth_l1_loss(all_deltas, wanted, beta=SMOOTH_L1_BETA, reduction="sum")
    return ProposalLosses(classified / sampled, regressed / sampled)
