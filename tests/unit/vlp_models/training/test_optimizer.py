from __future__ import annotations

import pytest
import torch
from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig
from vlp_models.training.averaging import WeightAverage
from vlp_models.training.optimizer import build_optimizer, freeze_parameters, set_lr
from vlp_models.training.recipe import OptimisationRecipe
from vlp_spec.errors import ConfigError

CONFIG = ViltConfig(8, 1, 2, 8, 16, 20, 8, ("vqa",), num_labels=3)
RECIPE = OptimisationRecipe(lr=0.1, max_steps=1, head_lr_factor=10, weight_decay=0.05)


def _trainable(model: ViltModel) -> dict[str, torch.nn.Parameter]:
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def _names_by_settings(model: ViltModel) -> dict[str, tuple[float, float]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["peak_lr"], group["weight_decay"])
        for group in build_optimizer(_trainable(model), RECIPE).param_groups
        for parameter in group["params"]
    }


def test_decay_and_rate_depend_on_the_parameter() -> None:
    model = ViltModel(CONFIG)
    settings = _names_by_settings(model)
    assert settings.keys() == dict(model.named_parameters()).keys()
    assert settings["transformer.blocks.0.mlp.fc1.weight"] == (0.1, 0.05)
    assert settings["transformer.blocks.0.mlp.fc1.bias"] == (0.1, 0.0)
    assert settings["transformer.norm.weight"] == (0.1, 0.0)
    assert settings["text_embeddings.word_embeddings.weight"] == (0.1, 0.0)
    assert settings["transformer.pos_embed"] == (0.1, 0.0)
    assert settings["vqa_classifier.0.weight"] == (1.0, 0.05)
    assert settings["vqa_classifier.0.bias"] == (1.0, 0.0)


def test_frozen_parameters_are_left_out() -> None:
    model = ViltModel(CONFIG)
    count = freeze_parameters(model, ["text_embeddings.*", "pooler.*"])
    settings = _names_by_settings(model)
    assert count == len(dict(model.named_parameters())) - len(settings)
    assert not [name for name in settings if name.startswith(("text_embeddings", "pooler"))]
    with pytest.raises(ConfigError, match="'poolr' matches no parameter"):
        freeze_parameters(model, ["poolr"])


def test_the_schedule_scales_every_groups_own_rate() -> None:
    optimizer = build_optimizer(_trainable(ViltModel(CONFIG)), RECIPE)
    set_lr(optimizer, 0.5)
    set_lr(optimizer, 0.25)
    assert {group["lr"] for group in optimizer.param_groups} == {0.025, 0.25}


def test_the_average_follows_the_weights_and_can_be_lent() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    average = WeightAverage(model, decay=0.5)
    torch.nn.init.ones_(model.weight)
    average.update(step=1)  # the decay of the first steps is smaller: (1 + 1) / (10 + 1)
    assert average.shadow["weight"].item() == pytest.approx(9 / 11)
    average.update(step=1000)
    assert average.shadow["weight"].item() == pytest.approx(0.5 * 9 / 11 + 0.5)
    with average.applied():
        assert model.weight.item() == pytest.approx(0.5 * 9 / 11 + 0.5)
    assert model.weight.item() == 1
    average.apply()
    assert model.weight.item() == pytest.approx(0.5 * 9 / 11 + 0.5)
