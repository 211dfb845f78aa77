from __future__ import annotations

import torch
from vlp_models.objectives.retrieval_recall import retrieval_recall

# Rows are pictures 10 and 20; the first two texts belong to 10, the last to 20.
SCORES = torch.tensor([[0.1, 0.9, 0.5], [0.8, 0.2, 0.4]])
IMAGE_IDS, TEXT_IMAGE_IDS = torch.tensor([10, 20]), torch.tensor([10, 10, 20])


def test_hits_are_counted_on_both_sides() -> None:
    recall = retrieval_recall(SCORES, IMAGE_IDS, TEXT_IMAGE_IDS, k=1)
    # Picture 10 finds its second text, picture 20 does not; of the texts only the second finds its picture.
    assert recall.text == 0.5
    assert abs(recall.image - 1 / 3) < 1e-6


def test_more_candidates_find_more() -> None:
    recall = retrieval_recall(SCORES, IMAGE_IDS, TEXT_IMAGE_IDS, k=2)
    assert recall.text == 1
    assert recall.image == 1


def test_k_may_exceed_the_candidates() -> None:
    assert retrieval_recall(SCORES, IMAGE_IDS, TEXT_IMAGE_IDS, k=10).text == 1
