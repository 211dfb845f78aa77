"""The CoCa that a run starts with: random, with the picture side of a ViLT, or a CoCa's weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.checkpoint import LoadedCheckpoint
from vlp_models.families.coca import CocaModel
from vlp_models.families.coca_config import CocaConfig
from vlp_models.families.vilt import ViltModel
from vlp_models.training.blip_initial_model import new_config
from vlp_models.training.recipe import Recipe, TowersRecipe
from vlp_models.training.starting_weights import init_writer, take_weights
from vlp_models.training.training_data import TrainingTexts
from vlp_models.training.vilt_picture_side import picture_side_of_vilt


def build_coca(recipe: Recipe, texts: TrainingTexts, source: LoadedCheckpoint | None = None) -> CocaModel:
    """The model of a recipe, random weights drawn from torch's generator.

    Half of the text's blocks read it alone, as in the paper, and captions look at as many states as there are patches.

    Args:
        recipe: sizes.
        texts: the tokenizer.
        source: a CoCa, whose sizes and weights hold; or a ViLT, whose transformer becomes the picture side.

    Raises:
        ArtifactError: the tokenizer lacks a token that the model puts in, or the source is of another family or size.
        ConfigError: sizes that cannot be built.
    """
    place = f"model.init {recipe.model.init}"
    given: Mapping[str, Tensor] = {}
    if source is None:
        config = _config(recipe, texts)
    elif isinstance(source.model, ViltModel):
        config = _config(recipe, texts, like=source.model)
        given = picture_side_of_vilt(source.model)
    elif isinstance(source.model, CocaModel):
        config, given = source.model.config, source.model.state_dict()
        side = cast(TowersRecipe, recipe.model.towers).image_size
        if side != config.parts.image_size:
            raise ArtifactError(f"model.towers.image_size: got {side}, {place} sees {config.parts.image_size} pixels")
    else:
        raise ArtifactError(f'{place}: neither CoCa nor ViLT, which model.family = "coca" can start from')
    model = CocaModel(config)
    init_writer(model, config.parts)
    with torch.no_grad():
        nn.init.trunc_normal_(model.pooler.queries, std=config.hf.text_config.hidden_size**-0.5)
    if given:
        take_weights(model, given, place)
    return model


def _config(recipe: Recipe, texts: TrainingTexts, like: ViltModel | None = None) -> CocaConfig:
    parts = new_config(recipe, texts, ("caption",), like)
    return CocaConfig(parts, parts.hf.text_config.num_hidden_layers // 2, parts.image_states - 1)
