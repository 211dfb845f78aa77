from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F
from vlp_models.objectives.image_text_matching import image_text_matching_loss
from vlp_models.objectives.image_text_retrieval import image_text_retrieval_loss
from vlp_models.objectives.masked_language import IGNORED_LABEL, masked_language_loss
from vlp_models.objectives.visual_question_answering import answer_loss, answer_score, soft_targets
from vlp_models.objectives.visual_reasoning import visual_reasoning_loss


def test_only_masked_words_count() -> None:
    logits = torch.randn(2, 3, 7)
    labels = torch.full((2, 3), IGNORED_LABEL)
    labels[0, 1], labels[1, 2] = 4, 0
    expected = F.cross_entropy(torch.stack([logits[0, 1], logits[1, 2]]), torch.tensor([4, 0]))
    assert torch.allclose(masked_language_loss(logits, labels), expected)


def test_a_batch_without_masked_words_costs_nothing() -> None:
    logits = torch.randn(1, 2, 5, requires_grad=True)
    loss = masked_language_loss(logits, torch.full((1, 2), IGNORED_LABEL))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("loss", [image_text_matching_loss, visual_reasoning_loss])
def test_index_one_is_yes_whatever_the_labels_type(loss) -> None:  # type: ignore[no-untyped-def]
    logits = torch.tensor([[0.0, 3.0], [3.0, 0.0]])
    right, wrong = torch.tensor([1.0, 0.0]), torch.tensor([0, 1])
    assert loss(logits, right).item() == pytest.approx(math.log1p(math.exp(-3)))
    assert loss(logits, wrong).item() == pytest.approx(3 + math.log1p(math.exp(-3)))


def test_the_true_text_stands_first() -> None:
    assert image_text_retrieval_loss(torch.tensor([[5.0, 0.0, 0.0]])) < 0.1
    assert image_text_retrieval_loss(torch.tensor([[0.0, 5.0, 0.0]])) > 4


@pytest.mark.parametrize(("count", "score"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (10, 1)])
def test_annotators_make_a_score(count: int, score: float) -> None:
    assert answer_score(count) == score


def test_answers_become_rows_of_scores() -> None:
    targets = soft_targets([{0: 1.0, 2: 0.3}, {}], num_labels=3)
    assert torch.equal(targets, torch.tensor([[1.0, 0.0, 0.3], [0.0, 0.0, 0.0]]))


def test_the_answer_loss_sums_over_the_answers() -> None:
    logits, targets = torch.randn(2, 4), torch.rand(2, 4)
    terms = -(targets * F.logsigmoid(logits) + (1 - targets) * F.logsigmoid(-logits))
    assert torch.allclose(answer_loss(logits, targets), terms.sum(dim=1).mean())
