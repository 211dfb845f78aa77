from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig
from vlp_models.objectives.grounding import grounding_loss
from vlp_models.objectives.masked_language import masked_language_loss
from vlp_models.objectives.word_patch_alignment import align_words_to_patches
from vlp_models.training.recipe_objectives import (
    GroundingRecipe,
    ItmRecipe,
    MlmRecipe,
    ObjectivesRecipe,
    RegionsRecipe,
    VqaRecipe,
    WpaRecipe,
)
from vlp_models.training.vilt_losses import ViltLosses
from vlp_spec.errors import ConfigError

CONFIG = ViltConfig(8, 1, 2, 2, 4, 20, 8, ("vqa", "itm", "mlm"), num_labels=3, dropout=0.0)


@pytest.fixture
def model() -> ViltModel:
    torch.manual_seed(0)
    made = ViltModel(CONFIG)
    made.init_weights()
    return made


def _batch() -> dict[str, dict[str, Tensor]]:
    rng = np.random.default_rng(0)
    pairs = {
        "patches": torch.from_numpy(rng.integers(0, 256, (4, 6, 12), dtype=np.uint8)),
        "grid": torch.tensor([[2, 3], [1, 2], [2, 2], [3, 2]]),
        "input_ids": torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0], [2, 8, 9, 3], [2, 5, 3, 0]]),
        "text_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 0]]),
    }
    captions = pairs | {
        "mlm_ids": torch.tensor([[2, 4, 6, 3], [2, 4, 3, 0], [2, 8, 4, 3], [2, 5, 3, 0]]),
        "mlm_targets": torch.tensor([[-100, 5, -100, -100], [-100, 7, -100, -100], [-100, -100, 9, -100], [-100] * 4]),
        "mlm_scale": torch.tensor(1 / 3),
        "itm_patches": pairs["patches"].flip(0),
        "itm_grid": pairs["grid"].flip(0),
        "itm_labels": torch.tensor([0, 0, 1, 1]),
        "itm_ids": torch.tensor([[2, 5, 6, 3], [2, 9, 3, 0], [2, 8, 9, 3], [2, 5, 3, 0]]),
        "itm_mask": pairs["text_mask"],
        "itm_words": torch.tensor([[-1, -1, -1, -1], [0, 1, 0, -1], [0, 0, 0, 0], [0, 0, 0, -1]]),
    }
    targets = torch.tensor([[1.0, 0, 0], [0, 1.0, 0.3], [0, 0, 1.0], [0.6, 0, 0]])
    return {"captions": captions, "questions": pairs | {"targets": targets}}


def test_the_total_is_the_weighted_sum(model: ViltModel) -> None:
    recipe = ObjectivesRecipe(MlmRecipe(2.0), ItmRecipe(0.5), WpaRecipe(0.1), VqaRecipe(3.0))
    found = ViltLosses(model, recipe)(_batch())
    expected = 2 * found["mlm"] + 0.5 * found["itm"] + 0.1 * found["wpa"] + 3 * found["vqa"]
    assert found["loss"].item() == pytest.approx(expected.item())
    assert found["loss"].requires_grad
    assert not any(value.requires_grad for name, value in found.items() if name != "loss")


def test_each_loss_is_its_definition(model: ViltModel) -> None:
    batch = _batch()
    captions, questions = batch["captions"], batch["questions"]
    recipe = ObjectivesRecipe(MlmRecipe(), ItmRecipe(), WpaRecipe(), VqaRecipe())
    found = ViltLosses(model, recipe)(batch)
    text = captions["text_mask"]
    words = model.mlm_logits(captions["patches"], captions["grid"], captions["mlm_ids"], text)
    assert found["mlm"].item() == pytest.approx(masked_language_loss(words, captions["mlm_targets"]).item(), rel=1e-5)
    shown = (captions["itm_patches"], captions["itm_grid"], captions["itm_ids"], text)
    matching = F.cross_entropy(model.itm_logits(*shown), captions["itm_labels"])
    assert found["itm"].item() == pytest.approx(matching.item(), rel=1e-5)
    output = model.encode(*shown)
    distance = align_words_to_patches(output.text_feats, text, output.image_feats, output.image_mask).distance
    assert found["wpa"].item() == pytest.approx((distance[2:].sum() - distance[:2].sum()).item() / 4, rel=1e-4)
    logits = model.vqa_logits(questions["patches"], questions["grid"], questions["input_ids"], text)
    answers = F.binary_cross_entropy_with_logits(logits, questions["targets"], reduction="sum") / 4
    assert found["vqa"].item() == pytest.approx(answers.item(), rel=1e-5)


def test_cross_entropy_on_normalised_answers(model: ViltModel) -> None:
    questions = _batch()["questions"]
    found = ViltLosses(model, ObjectivesRecipe(vqa=VqaRecipe(loss="ce")))({"questions": questions})
    logits = model.vqa_logits(questions["patches"], questions["grid"], questions["input_ids"], questions["text_mask"])
    shares = questions["targets"] / questions["targets"].sum(1, keepdim=True)
    assert found["vqa"].item() == pytest.approx(-(shares * logits.log_softmax(-1)).sum(1).mean().item(), rel=1e-5)


def test_a_batch_without_matching_has_no_matching_loss(model: ViltModel) -> None:
    batch = _batch()
    for name in ("itm_patches", "itm_grid", "itm_labels", "itm_ids", "itm_mask", "itm_words"):
        batch["captions"].pop(name)
    found = ViltLosses(model, ObjectivesRecipe(MlmRecipe(), ItmRecipe()))(batch)
    assert found.keys() == {"loss", "mlm", "mlm_accuracy"}


def test_region_words_are_said_by_the_patch_in_the_middle(model: ViltModel) -> None:
    arrays = {name: _batch()["captions"][name] for name in ("patches", "grid")}
    arrays |= {
        "input_ids": torch.tensor([[2, 3]] * 4),
        "text_mask": torch.ones(4, 2, dtype=torch.int64),
        "region_rows": torch.tensor([0, 2]),
        "region_slots": torch.tensor([4, 1]),
        "region_words": torch.tensor([[0, 7], [1, 8], [1, 9]]),
        "region_scale": torch.tensor(1 / 3),
    }
    figures = ViltLosses(model.eval(), ObjectivesRecipe(regions=RegionsRecipe(2.0)))({"regions": arrays})
    output = model.encode(arrays["patches"], arrays["grid"], arrays["input_ids"], arrays["text_mask"])
    said = model.mlm_score(output.image_feats[[0, 2], [5, 2]]).log_softmax(-1)
    expected = -(said[0, 7] + said[1, 8] + said[1, 9]) / 3
    torch.testing.assert_close(figures["regions"], expected.detach())
    torch.testing.assert_close(figures["loss"], 2 * expected)
    best = said.argsort(descending=True)
    hits = [7 in best[0, :1], 8 in best[1, :2], 9 in best[1, :2]]
    assert float(figures["region_recall"]) == pytest.approx(sum(hits) / 3)


def test_the_word_decoder_says_the_answer_at_cls(model: ViltModel) -> None:
    questions = {name: _batch()["captions"][name] for name in ("patches", "grid", "input_ids", "text_mask")}
    questions["targets"] = torch.eye(3)[[0, 1, 2, 0]]
    words = torch.zeros(3, 20)
    words[0, 7], words[1, 8], words[2, [9, 10]] = 1, 1, 0.5
    objectives = ObjectivesRecipe(vqa=VqaRecipe(loss="ce", answer_words=0.5))
    figures = ViltLosses(model.eval(), objectives, words)({"questions": questions})
    output = model.encode(*(questions[name] for name in ("patches", "grid", "input_ids", "text_mask")))
    said = model.mlm_score(output.text_feats[:, 0])
    logits = torch.stack([said[:, 7], said[:, 8], (said[:, 9] + said[:, 10]) / 2], dim=1)
    expected = F.cross_entropy(logits, torch.tensor([0, 1, 2, 0]))
    torch.testing.assert_close(figures["answer_words"], expected.detach())
    torch.testing.assert_close(figures["loss"].detach(), figures["vqa"] + 0.5 * expected.detach())


def test_false_words_are_told_from_true_ones(model: ViltModel) -> None:
    captions = _batch()["captions"]
    losses = ViltLosses(model.eval(), ObjectivesRecipe(itm=ItmRecipe(words=0.5)))
    figures = losses({"captions": captions})
    shown = [captions[name] for name in ("itm_patches", "itm_grid", "itm_ids", "itm_mask")]
    doubts = losses.word_truth(model.encode(*shown).text_feats)[..., 0]
    fault = F.softplus(torch.where(captions["itm_words"] == 1, -doubts, doubts))
    expected = (fault[1, :3].mean() + fault[2].mean() + fault[3, :3].mean()) / 4
    torch.testing.assert_close(figures["itm_words"], expected.detach())
    torch.testing.assert_close(figures["loss"].detach(), figures["itm"] + 0.5 * expected.detach())
    assert figures["false_words_found"] == float(doubts[1, 1] > 0)
    assert losses.own_state().keys() == {"word_truth.weight", "word_truth.bias"}
    assert {"word_truth.weight", "pooler.dense.weight"} <= losses.trainable().keys()


def _grounded() -> dict[str, Tensor]:
    shares = torch.zeros(3, 7)
    shares[0, 2], shares[1, 0], shares[2, [1, 4]] = 1.0, 1.0, 0.5
    return _batch()["questions"] | {
        "ground_rows": torch.tensor([0, 1, 2]),
        "ground_positions": torch.tensor([2, 1, 1]),
        "ground_shares": shares,
        "ground_centres": torch.tensor([[0.5, 0.25], [torch.nan, torch.nan], [torch.nan, torch.nan]]),
        "ground_told": torch.tensor([[0, 5], [1, 6]]),
        "ground_unsaid": torch.tensor([[0, 9], [2, 7], [2, 8]]),
        "ground_centres_scale": torch.tensor(1 / 2),
        "ground_told_scale": torch.tensor(1 / 2),
        "ground_unsaid_scale": torch.tensor(1 / 3),
    }


def test_words_are_grounded_in_the_middle_of_the_model() -> None:
    torch.manual_seed(0)
    deep = ViltModel(replace(CONFIG, num_layers=3))
    deep.init_weights()
    wanted = GroundingRecipe(2.0, layer=2, centres=3.0, unsaid=4.0, told=5.0)
    losses = ViltLosses(deep.eval(), ObjectivesRecipe(vqa=VqaRecipe(), grounding=wanted))
    arrays = _grounded()
    found = losses({"questions": arrays})
    hidden: list[Tensor] = []
    for block in deep.transformer.blocks[1:]:
        block.register_forward_hook(lambda block, inputs, output: hidden.append(output))
    mask = deep.encode(*(arrays[name] for name in ("patches", "grid", "input_ids", "text_mask"))).image_mask
    words, above = (layer[[0, 1, 2], [2, 1, 1]] for layer in hidden)
    scores = losses.grounding(words, hidden[0][:3, 4:], mask[:3])
    said, sides = (deep.mlm_score(deep.transformer.norm(layer)).log_softmax(-1) for layer in (words, above))
    expected = {
        "grounding": grounding_loss(scores, arrays["ground_shares"], arrays["ground_rows"], 4),
        "centres": (losses.grounding.locate(words)[0] - torch.tensor([0.5, 0.25])).abs().mean(),
        "told": -(sides[0, 5] + sides[1, 6]) / 2,
        "unsaid": -(said[0, 9] + said[2, 7] + said[2, 8]) / 3,
    }
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value.detach())
    weights = {"grounding": 2, "centres": 3, "unsaid": 4, "told": 5}
    total = found["vqa"] + sum(weight * found[name] for name, weight in weights.items())
    torch.testing.assert_close(found["loss"].detach(), total)
    found["loss"].backward()
    assert deep.transformer.blocks[1].mlp.fc2.weight.grad is not None


def test_grounding_asks_for_a_layer_that_is_there(model: ViltModel) -> None:
    with pytest.raises(ConfigError, match=r"objectives\.grounding\.layer: got 2, the model has 1 blocks"):
        ViltLosses(model, ObjectivesRecipe(vqa=VqaRecipe(), grounding=GroundingRecipe(layer=2)))
    with pytest.raises(ConfigError, match=r"objectives\.grounding\.layer: got 1, the model has 1 blocks"):
        ViltLosses(model, ObjectivesRecipe(vqa=VqaRecipe(), grounding=GroundingRecipe(layer=1, told=1.0)))
    with pytest.raises(ConfigError, match="grounding: needs vqa"):
        ObjectivesRecipe(mlm=MlmRecipe(), grounding=GroundingRecipe())
