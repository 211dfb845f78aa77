"""Recall as papers report it: a text has one right picture, its own, and a picture only its own texts.

Beside it stands the count of UNITER's published script, which is too high for text queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from vlp_models.data.records import PictureRecord
from vlp_models.evaluation.retrieval import RANKS
from vlp_models.objectives.retrieval_recall import retrieval_recall
from vlp_models.objectives.uniter_retrieval_recall import official_retrieval_recall


def published_recall(
    scores: np.ndarray, records: Sequence[PictureRecord], captions: Sequence[str]
) -> dict[str, Mapping[int, float]]:
    """Count own texts alone; a caption that two pictures carry is two texts.

    Args:
        scores: (captions, pictures) float, the higher the better.
        records: of the pictures, in order.
        captions: distinct ones, in the order of the scores; texts that are not among them are left out.

    Returns:
        What is counted -> k -> share of queries, 0 to 1, save that the published count may exceed 1 on small sets.
    """
    number_of = {caption: number for number, caption in enumerate(captions)}
    texts = [
        (number_of[caption], picture)
        for picture, record in enumerate(records)
        for caption in record.captions
        if caption in number_of
    ]
    rows, owners = torch.tensor(texts).T
    by_picture = torch.from_numpy(np.ascontiguousarray(scores)).float()[rows].T
    pictures = torch.arange(len(records))
    right = {k: retrieval_recall(by_picture, pictures, owners, k) for k in RANKS}
    counted = {k: official_retrieval_recall(by_picture, pictures, owners, k) for k in RANKS}
    return {
        "words -> own picture": {k: one.image for k, one in right.items()},
        "pictures -> own words": {k: one.text for k, one in right.items()},
        "words -> own picture, as UNITER's script counts": {k: one.image for k, one in counted.items()},
    }
