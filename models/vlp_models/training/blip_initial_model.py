"""The BLIP that a run starts with: random, with the picture side of a ViLT, or a BLIP's weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from torch import Tensor
from transformers import BlipConfig as TransformersBlipConfig
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.blip_tokenizer import blip_token_ids
from vlp_models.checkpoints.checkpoint import LoadedCheckpoint
from vlp_models.families.blip import BlipModel
from vlp_models.families.blip_config import BlipConfig, TokenIds
from vlp_models.families.dual_encoder_config import default_pixels
from vlp_models.families.vilt import ViltModel
from vlp_models.training.recipe import Recipe, TowersRecipe
from vlp_models.training.starting_weights import init_writer, take_weights
from vlp_models.training.training_data import TrainingTexts
from vlp_models.training.vilt_picture_side import picture_side_of_vilt

_SHARED = ("crossattention", "intermediate", "output")


def wanted_heads(recipe: Recipe) -> tuple[str, ...]:
    """The heads that the objectives train; a checkpoint's other heads are left behind."""
    objectives = recipe.objectives
    wanted = {"caption": objectives.lm is not None, "match": objectives.itc is not None or objectives.itm is not None}
    return tuple(head for head, is_wanted in wanted.items() if is_wanted)


def build_blip(recipe: Recipe, texts: TrainingTexts, source: LoadedCheckpoint | None = None) -> BlipModel:
    """The model of a recipe, random weights drawn from torch's generator.

    Args:
        recipe: sizes and objectives.
        texts: the tokenizer.
        source: a BLIP, whose sizes and weights hold; encoder and decoder start from one another where it has but one of
            them. Or a ViLT, whose transformer becomes the picture side; blocks above those that it has pass on at first
            what they get.

    Raises:
        ArtifactError: the tokenizer lacks a token that BLIP puts in, or the source is of another family or size.
        ConfigError: sizes that cannot be built.
    """
    place = f"model.init {recipe.model.init}"
    given: Mapping[str, Tensor] = {}
    if source is None:
        config = new_config(recipe, texts, wanted_heads(recipe))
    elif isinstance(source.model, ViltModel):
        config = new_config(recipe, texts, wanted_heads(recipe), like=source.model)
        given = picture_side_of_vilt(source.model)
    elif isinstance(source.model, BlipModel):
        config = _adapted(source.model.config, recipe, place)
        given = source.model.state_dict()
    else:
        raise ArtifactError(f'{place}: neither BLIP nor ViLT, which model.family = "blip" can start from')
    model = BlipModel(config)
    init_writer(model, config)
    if given:
        take_weights(model, given, place)
    if recipe.model.shares_text and config.has_encoder and config.has_decoder:
        share_text_weights(model)
    return model


def share_text_weights(model: BlipModel) -> None:
    """Let encoder and decoder have all but self-attention in common, as BLIP pre-trains; the encoder's stay.

    The modules become the same objects, so that an optimizer, an average and a copy keep them common.
    """
    encoder, decoder = model.text_encoder, model.text_decoder.bert
    decoder.embeddings = encoder.embeddings
    for mine, theirs in zip(decoder.blocks, encoder.blocks, strict=True):
        for name in _SHARED:
            setattr(mine, name, getattr(theirs, name))


def new_config(
    recipe: Recipe, texts: TrainingTexts, heads: tuple[str, ...], like: ViltModel | None = None
) -> BlipConfig:
    """The configuration of a recipe's sizes.

    Args:
        recipe: `model.towers`, and the prompt.
        texts: the tokenizer.
        heads: see BlipConfig.
        like: a model as which pictures are taken: their normalisation, and the layer norms' epsilon; None = CLIP's.

    Raises:
        ArtifactError: the tokenizer lacks a token that BLIP puts in.
        ConfigError: sizes that cannot be built.
    """
    mean, std = default_pixels("clip" if like is None else "siglip")  # the latter: from -1 to 1
    vision = {} if like is None else {"layer_norm_eps": like.config.layer_norm_eps}
    tokens, lm = blip_token_ids(texts.tokenizer_json), recipe.objectives.lm
    num_given = len(texts.words_of(lm.prompt)) if lm is not None else 0
    return BlipConfig(
        hf=_transformers_config(cast(TowersRecipe, recipe.model.towers), texts, tokens, vision, num_given=num_given),
        heads=heads,
        tokens=tokens,
        max_text_len=texts.max_length,
        pixel_mean=mean,
        pixel_std=std,
        prompt=lm.prompt if lm is not None else "",
        # As long as the captions that it learns from, and greedily: the published code stops after 20 tokens.
        generation={"max_tokens": texts.max_length - 1, "min_tokens": 0, "num_beams": 1} if lm is not None else {},
    )


def _transformers_config(
    towers: TowersRecipe, texts: TrainingTexts, tokens: TokenIds, vision: Mapping[str, Any], *, num_given: int
) -> TransformersBlipConfig:
    pictures = {
        "image_size": towers.image_size,
        "patch_size": towers.patch_size,
        "hidden_size": towers.image_width,
        "intermediate_size": 4 * towers.image_width,
        "num_hidden_layers": towers.image_layers,
        "num_attention_heads": towers.image_heads,
        "attention_dropout": 0.0,
    }
    words = {
        "vocab_size": texts.vocab_size,
        "max_position_embeddings": texts.max_length + num_given,
        "hidden_size": towers.text_width,
        "encoder_hidden_size": towers.image_width,
        "intermediate_size": 4 * towers.text_width,
        "num_hidden_layers": towers.text_layers,
        "num_attention_heads": towers.text_heads,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "bos_token_id": tokens.start,
        "eos_token_id": tokens.end,
        "sep_token_id": tokens.end,
        "pad_token_id": tokens.pad,
    }
    sizes = {"image_text_hidden_size": towers.dimension, "projection_dim": towers.dimension}
    return TransformersBlipConfig(vision_config={**pictures, **vision}, text_config=words, **sizes)


def _adapted(config: BlipConfig, recipe: Recipe, place: str) -> BlipConfig:
    """A checkpoint's configuration with the recipe's heads, and its prompt where it has one."""
    towers, lm = cast(TowersRecipe, recipe.model.towers), recipe.objectives.lm
    if config.image_size != towers.image_size:
        raise ArtifactError(
            f"model.towers.image_size: got {towers.image_size}, {place} sees {config.image_size} pixels"
        )
    return replace(
        config, heads=wanted_heads(recipe), prompt=lm.prompt if lm is not None and lm.prompt else config.prompt
    )
