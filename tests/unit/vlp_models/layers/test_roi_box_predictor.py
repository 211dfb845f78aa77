from __future__ import annotations

import pytest
import torch
from vlp_models.layers.roi_box_predictor import RoiBoxPredictor


@pytest.mark.parametrize(("agnostic", "deltas"), [(True, 4), (False, 12)])
def test_shapes_have_a_place_for_background_and_for_no_attribute(agnostic: bool, deltas: int) -> None:
    predictor = RoiBoxPredictor(16, 3, 2, class_agnostic_boxes=agnostic)
    predictor.init_weights()
    logits = predictor(torch.randn(5, 16))
    assert logits.class_logits.shape == (5, 4)
    assert logits.attribute_logits.shape == (5, 3)
    assert logits.box_deltas.shape == (5, deltas)


def test_the_attribute_is_judged_for_the_likeliest_class_or_the_given_one() -> None:
    torch.manual_seed(0)
    predictor = RoiBoxPredictor(16, 3, 2, class_agnostic_boxes=True)
    features = torch.randn(6, 16)
    free = predictor(features)
    likeliest = free.class_logits.argmax(dim=1)
    assert torch.equal(predictor(features, likeliest).attribute_logits, free.attribute_logits)
    other = predictor(features, (likeliest + 1) % 4)
    assert torch.equal(other.class_logits, free.class_logits)
    assert (other.attribute_logits != free.attribute_logits).any(dim=1).all()
