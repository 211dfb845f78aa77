"""Visual entailment: decide whether a picture entails a hypothesis, contradicts it, or neither."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from vlp_models.objectives.visual_question_answering import answer_loss


def entailment_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Binary cross entropy of every label, averaged over the batch and summed over the labels.

    Args:
        logits: (B, L).
        labels: (B,) of any number type, the right label's index.

    Returns:
        a scalar.

    Source: ChenRocks/UNITER, which trains SNLI-VE (Xie et al. 2019, arXiv:1901.06706) as VQA with one right answer.
    """
    return answer_loss(logits, F.one_hot(labels.long(), logits.shape[1]))
