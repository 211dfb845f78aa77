"""Recall at k of image and text retrieval from a whole score matrix."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class RetrievalRecall(NamedTuple):
    """Fractions of queries with a right hit among the first k; float."""

    image: float
    """Text queries that find their picture."""
    text: float
    """Picture queries that find any text of theirs."""


def retrieval_recall(scores: Tensor, image_ids: Tensor, text_image_ids: Tensor, k: int) -> RetrievalRecall:
    """Count hits among the k best.

    Args:
        scores: (images, texts) float; the higher, the better.
        image_ids: (images,) int, the identity of each row.
        text_image_ids: (texts,) int, the identity of the picture that each text belongs to.
        k: how many hits count; more than there are candidates means all of them.
    """
    best_texts = scores.topk(min(k, scores.shape[1]), dim=1).indices
    best_images = scores.topk(min(k, scores.shape[0]), dim=0).indices
    text_hits = (text_image_ids[best_texts] == image_ids[:, None]).any(dim=1)
    image_hits = (image_ids[best_images] == text_image_ids[None, :]).any(dim=0)
    return RetrievalRecall(image=image_hits.float().mean().item(), text=text_hits.float().mean().item())
