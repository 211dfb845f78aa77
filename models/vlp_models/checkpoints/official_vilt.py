"""Read the published ViLT checkpoints (.ckpt of dandelin/ViLT): names and sizes, nothing about words or answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.state_loading import load_strictly
from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig

# A buffer of the published files: 0, 1, 2, ...; positions are counted here, not stored.
_COUNTED = "text_embeddings.position_ids"
_HEAD_KEYS = {
    "vqa": "vqa_classifier.3.bias",
    "nlvr2": "nlvr2_classifier.3.bias",
    "itm": "itm_score.fc.bias",
    "mlm": "mlm_score.bias",
    "irtr": "rank_output.bias",
}
_SIZE_KEYS = (
    "transformer.patch_embed.proj.weight",
    "transformer.pos_embed",
    "transformer.blocks.0.mlp.fc1.weight",
    "text_embeddings.word_embeddings.weight",
    "text_embeddings.position_embeddings.weight",
    "token_type_embeddings.weight",
)
# The head width of every published vision transformer; only sizes are stored in a state dict.
_VIT_HEAD_WIDTH = 64
# ViLT floors both sides of a picture to multiples of 32 whatever the patch size.
_SIZE_DIVISOR = 32


def is_official_vilt(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has ViLT's names."""
    return {"transformer.patch_embed.proj.weight", "text_embeddings.word_embeddings.weight"} <= state.keys()


def official_vilt_config(state: Mapping[str, Tensor], settings: Mapping[str, Any], source: str) -> ViltConfig:
    """Find a model's sizes and heads from its weights.

    Args:
        state: name -> tensor (any device; only shapes are read).
        settings: the training settings stored beside the weights, or empty; read for num_heads and drop_rate,
            which leave no trace in the weights.
        source: names the checkpoint in errors.

    Raises:
        ArtifactError: a tensor that tells a size is missing, or the number of heads cannot be known.
    """
    faults = [name for name in _SIZE_KEYS if name not in state]
    if faults:
        raise ArtifactError(f"{source}: not a ViLT checkpoint: missing {', '.join(faults)}")
    hidden_size, _, patch_size, _ = state["transformer.patch_embed.proj.weight"].shape
    grid_side = round((state["transformer.pos_embed"].shape[1] - 1) ** 0.5)
    vqa_bias = state.get(_HEAD_KEYS["vqa"])
    vocab_size = state["text_embeddings.word_embeddings.weight"].shape[0]
    return ViltConfig(
        hidden_size=hidden_size,
        num_layers=sum(name.endswith(".norm1.weight") for name in state),
        num_heads=_num_heads(hidden_size, settings, source),
        patch_size=patch_size,
        image_size=grid_side * patch_size,
        vocab_size=vocab_size,
        max_text_len=state["text_embeddings.position_embeddings.weight"].shape[0],
        heads=tuple(head for head, key in _HEAD_KEYS.items() if key in state),
        num_labels=0 if vqa_bias is None else vqa_bias.shape[0],
        num_token_types=state["token_type_embeddings.weight"].shape[0],
        mlp_ratio=state["transformer.blocks.0.mlp.fc1.weight"].shape[0] / hidden_size,
        dropout=float(settings.get("drop_rate", 0.1)),
    )


def _num_heads(hidden_size: int, settings: Mapping[str, Any], source: str) -> int:
    if settings.get("num_heads"):
        return int(settings["num_heads"])
    if hidden_size % _VIT_HEAD_WIDTH:
        raise ArtifactError(
            f"{source}: the number of attention heads is unknown: the file holds no training settings, and its width "
            f"{hidden_size} is not a multiple of {_VIT_HEAD_WIDTH}; store it as hyper_parameters.config.num_heads"
        )
    return int(hidden_size // _VIT_HEAD_WIDTH)


def build_official_vilt(state: Mapping[str, Tensor], settings: Mapping[str, Any], source: str) -> ViltModel:
    """Build the model that a published state dict describes and load it strictly.

    Raises:
        ArtifactError: sizes cannot be found, or names or shapes do not fit.
    """
    config = official_vilt_config(state, settings, source)
    with torch.device("meta"):
        model = ViltModel(config)
    load_strictly(model, {name: tensor for name, tensor in state.items() if name != _COUNTED}, source)
    return model


def official_image_settings(config: ViltConfig, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Processor settings of the published preprocessing, for the size that the model was trained at."""
    shorter_edge = int(settings.get("image_size") or config.image_size)
    return vilt_image_settings(config, shorter_edge, _SIZE_DIVISOR)


def vilt_image_settings(config: ViltConfig, shorter_edge: int, size_divisor: int) -> dict[str, Any]:
    """The image processor's settings; the longer side is capped at 1333/800 of the shorter one."""
    return {
        "type": "vilt",
        "shorter_edge": shorter_edge,
        "longer_edge": int(1333 / 800 * shorter_edge),
        "size_divisor": size_divisor,
        "patch_size": config.patch_size,
        "resample": "bicubic",
    }
