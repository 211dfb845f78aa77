from __future__ import annotations

import pytest
import torch
from blip_training_rig import CLS, ENC, PAD, blip_batch, blip_model
from torch import Tensor
from torch.nn import functional as F
from vlp_models.training.blip_matching import draw_negatives, matching_loss

EXCLUDED = torch.tensor([[1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1]], dtype=torch.bool)


def test_negatives_are_drawn_as_likely_as_they_look_right() -> None:
    torch.manual_seed(0)
    similarities = torch.tensor(
        [[9.0, 1.0, 2.0, 9.0], [0.0, 9.0, 9.0, 3.0], [1.0, 9.0, 9.0, 0.0], [9.0, 0.0, 0.0, 9.0]]
    )
    drawn = [draw_negatives(similarities, EXCLUDED) for _ in range(4000)]
    texts, pictures = (torch.stack(rows) for rows in zip(*drawn, strict=True))
    for found, scores in ((texts, similarities), (pictures, similarities.T)):
        shares = scores.masked_fill(EXCLUDED, -torch.inf).softmax(1)
        counted = torch.stack([(found == other).float().mean(0) for other in range(4)], dim=1)
        torch.testing.assert_close(counted, shares, atol=0.03, rtol=0)


def test_a_row_without_anything_wrong_draws_nothing() -> None:
    everything = torch.ones(2, 2, dtype=torch.bool)
    texts, pictures = draw_negatives(torch.zeros(2, 2), everything)
    assert texts.tolist() == pictures.tolist() == [-1, -1]


def _alone(ids: list[int], picture: int) -> Tensor:
    model, batch = blip_model(), blip_batch()
    cross = model.text_encoder.cross_states(model.encode_image(batch["pixels"][picture : picture + 1]))
    text = torch.tensor([[[ENC, *ids[1:]]]])
    return model.itm_logits(text, torch.ones_like(text), cross)[0, 0]


def test_the_loss_is_that_of_every_pair_by_itself() -> None:
    model, batch = blip_model(), blip_batch()
    texts, pictures = torch.tensor([1, 3, 0, -1]), torch.tensor([2, 0, 3, -1])
    metrics: dict[str, Tensor] = {}
    loss = matching_loss(model, model.encode_image(batch["pixels"]), batch, (texts, pictures), metrics)
    said = [[token for token in row if token != PAD] for row in batch["input_ids"].tolist()]
    false = batch["false_ids"][0].tolist()
    pairs = [(said[row], row, 1) for row in range(4)]
    pairs += [(said[1], 0, 0), (said[3], 1, 0), (false, 2, 0)]  # the false text goes before the drawn one
    pairs += [(said[0], 2, 0), (said[1], 0, 0), (said[2], 3, 0)]
    logits = torch.stack([_alone(ids, picture) for ids, picture, _ in pairs])
    labels = torch.tensor([label for *_, label in pairs])
    assert loss.item() == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-4)
    assert metrics["itm_accuracy"].item() == pytest.approx((logits.argmax(1) == labels).float().mean().item())
    assert metrics["false_texts_found"].item() == float(logits[6].argmax() == 0)
    assert (batch["input_ids"][:, 0] == CLS).all()  # given arrays stay as they are
