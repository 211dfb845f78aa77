"""Recall at k as UNITER's published evaluation counts it, to compare with numbers that were made so."""

from __future__ import annotations

from torch import Tensor

from vlp_models.objectives.retrieval_recall import RetrievalRecall, retrieval_recall


def official_retrieval_recall(
    scores: Tensor, image_ids: Tensor, text_image_ids: Tensor, k: int, *, depth: int = 10
) -> RetrievalRecall:
    """`retrieval_recall`, with the published mistake in the part of the text queries.

    The published code looks for the right picture among the first `depth` of each text, notes (number of the text, rank
    of the hit) of every hit, and then counts all numbers below k in these pairs: ranks, which is meant, and also the
    texts whose own number is below k. The fraction is too high by up to k / texts: by 0.1 points for k = 5 and 5000
    texts, but it can exceed 1 on small sets. The part of the picture queries is right.

    Args:
        scores: (images, texts) float; the higher, the better.
        image_ids: (images,) int, the identity of each row.
        text_image_ids: (texts,) int, the identity of the picture that each text belongs to.
        k: how many hits count, at most `depth`.
        depth: how many hits the published code looks at, whatever k is.

    Source: ChenRocks/UNITER, utils/itm_eval.py.
    """
    right = retrieval_recall(scores, image_ids, text_image_ids, k)
    found = image_ids[scores.topk(min(depth, scores.shape[0]), dim=0).indices] == text_image_ids[None, :]
    counted_wrongly = found[:, :k].sum().item()
    return RetrievalRecall(image=right.image + counted_wrongly / scores.shape[1], text=right.text)
