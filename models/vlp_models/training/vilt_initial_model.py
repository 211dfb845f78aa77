"""The ViLT that a run starts with: random, or a checkpoint's weights with the heads that the objectives need."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import cast

import torch
from torch import nn
from vlp_spec.errors import ArtifactError

from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig
from vlp_models.layers.initialisation import init_truncated_normal, sine_cosine_grid
from vlp_models.layers.pre_norm_block import PreNormBlock
from vlp_models.training.optimizer import HEAD_PREFIXES
from vlp_models.training.recipe import Recipe

logger = logging.getLogger(__name__)


def wanted_heads(recipe: Recipe) -> tuple[str, ...]:
    """The heads that the objectives train; a checkpoint's other heads are left behind."""
    objectives = recipe.objectives
    present = {"vqa": objectives.vqa, "itm": objectives.itm, "mlm": objectives.decodes_words or None}
    return tuple(head for head, objective in present.items() if objective is not None)


def build_vilt(recipe: Recipe, vocab_size: int, num_labels: int) -> ViltModel:
    """A model with random weights, drawn from torch's generator."""
    shape = recipe.model
    config = ViltConfig(
        hidden_size=shape.hidden_size,
        num_layers=shape.num_layers,
        num_heads=shape.num_heads,
        mlp_ratio=shape.mlp_ratio,
        dropout=shape.dropout,
        patch_size=recipe.image.patch_size,
        image_size=shape.image_size or recipe.image.shorter_edge,
        vocab_size=vocab_size,
        max_text_len=recipe.text.max_length,
        heads=wanted_heads(recipe),
        num_labels=num_labels,
    )
    model = ViltModel(config)
    model.init_weights()
    _set_positions(model)
    _expect_one_answer(model)
    return model


def adapt_vilt(source: ViltModel, recipe: Recipe, num_labels: int) -> ViltModel:
    """A model with `source`'s weights and the recipe's heads; a head that it lacks, or of another width, is new.

    With `model.reset_positions` the learned positions are sine-cosine ones again. With `model.grow_layers`, that many
    blocks are put on top, which at first pass on what they get, so the model still computes what `source` does.

    Source of growing: Chen et al. 2016 (arXiv:1511.05641).

    Raises:
        ArtifactError: a part other than a head would stay random, or the recipe cuts patches of another size.
    """
    if source.config.patch_size != recipe.image.patch_size:
        raise ArtifactError(
            f"image.patch_size: got {recipe.image.patch_size}, model.init {recipe.model.init} has patches of "
            f"{source.config.patch_size} pixels"
        )
    config = replace(
        source.config,
        heads=wanted_heads(recipe),
        num_labels=num_labels,
        num_layers=source.config.num_layers + recipe.model.grow_layers,
        dropout=recipe.model.dropout,
    )
    model = ViltModel(config)
    model.init_weights()
    grown = tuple(f"transformer.blocks.{index}." for index in range(source.config.num_layers, config.num_layers))
    expected, given = model.state_dict(), source.state_dict()
    fitting = {name: given[name] for name in expected if name in given and given[name].shape == expected[name].shape}
    fresh = sorted(set(expected) - set(fitting))
    if strangers := [name for name in fresh if not name.startswith((*HEAD_PREFIXES, *grown))]:
        raise ArtifactError(f"model.init {recipe.model.init}: does not have {', '.join(strangers[:5])}")
    # A head whose last layer has another width starts anew as a whole.
    new_heads = {name.split(".")[0] for name in fresh if name.startswith(HEAD_PREFIXES)}
    kept = {name: value for name, value in fitting.items() if name.split(".")[0] not in new_heads}
    model.load_state_dict(kept, strict=False)
    if recipe.model.reset_positions:
        _set_positions(model)
    for block in model.transformer.blocks[source.config.num_layers :]:
        _init_as_identity(cast(PreNormBlock, block))
    if new_heads:
        if "vqa_classifier" in new_heads:
            _expect_one_answer(model)
        logger.info("new heads: %s", ", ".join(sorted(new_heads)))
    return model


def _set_positions(model: ViltModel) -> None:
    config = model.config
    if config.hidden_size % 4 == 0:
        model.transformer.pos_embed.data[0, 1:] = sine_cosine_grid(config.grid_side, config.hidden_size)


@torch.no_grad()
def _init_as_identity(block: PreNormBlock) -> None:
    """Let both halves add nothing yet; what feeds them keeps the variance of its input, so that they learn at once."""
    for linear in (module for module in block.modules() if isinstance(module, nn.Linear)):
        init_truncated_normal(linear, std=linear.in_features**-0.5)
    nn.init.zeros_(block.attn.proj.weight)
    nn.init.zeros_(block.mlp.fc2.weight)


@torch.no_grad()
def _expect_one_answer(model: ViltModel) -> None:
    """Start with one expected answer a question; from 0, a run would first spend steps on learning that."""
    if "vqa" in model.config.heads:
        last = cast(nn.Linear, model.vqa_classifier[-1])
        last.bias.fill_(-math.log(max(1, model.config.num_labels - 1)))
