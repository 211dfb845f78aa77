"""SigLIP's loss: every pair of a picture and a text is a yes-or-no question of its own."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def sigmoid_contrastive_loss(logits: Tensor, targets: Tensor, excluded: Tensor | None = None) -> Tensor:
    """Sum over all pairs of -log sigmoid(+-logit), over the pictures.

    Args:
        logits: (B, G) float, cosine times the learned scale plus the learned bias: pictures against texts.
        targets: (B,) int64, the column of each picture's own text.
        excluded: (B, G) bool, true = neither a right nor a wrong pair; a picture's own text always counts.

    Returns:
        a scalar.

    Source: Zhai et al. 2023 (arXiv:2303.15343), sec. 3.2 and algorithm 1; differs: `excluded`.
    """
    own = F.one_hot(targets, logits.shape[1]).to(torch.bool)
    losses = -F.logsigmoid(torch.where(own, logits, -logits))
    if excluded is not None:
        losses = losses.masked_fill(excluded & ~own, 0.0)
    return losses.sum() / logits.shape[0]
