"""A ViLT's transformer as the picture side of a BLIP: what it learned to see is not learned again."""

from __future__ import annotations

import torch
from torch import Tensor

from vlp_models.families.vilt import ViltModel

_SIDE = "vision_model."
_BLOCK_NAMES = {
    "norm1": "layer_norm1",
    "attn.qkv": "self_attn.qkv",
    "attn.proj": "self_attn.projection",
    "norm2": "layer_norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


@torch.no_grad()
def picture_side_of_vilt(source: ViltModel) -> dict[str, Tensor]:
    """The weights under the names of BLIP's picture side: the same function of pictures without a text.

    ViLT adds to every patch an embedding that says "picture"; here it is part of the positions. Pictures must come as
    ViLT's do, with pixels from -1 to 1 and its epsilon in the layer norms.
    """
    state = source.state_dict()
    modality = state["token_type_embeddings.weight"][1]
    weights = {
        f"{_SIDE}embeddings.class_embedding": state["transformer.cls_token"],
        f"{_SIDE}embeddings.position_embedding": state["transformer.pos_embed"] + modality,
        f"{_SIDE}embeddings.patch_embedding.weight": state["transformer.patch_embed.proj.weight"],
        f"{_SIDE}embeddings.patch_embedding.bias": state["transformer.patch_embed.proj.bias"],
        f"{_SIDE}post_layernorm.weight": state["transformer.norm.weight"],
        f"{_SIDE}post_layernorm.bias": state["transformer.norm.bias"],
    }
    for number in range(source.config.num_layers):
        for theirs, ours in _BLOCK_NAMES.items():
            for kind in ("weight", "bias"):
                value = state[f"transformer.blocks.{number}.{theirs}.{kind}"]
                weights[f"{_SIDE}encoder.layers.{number}.{ours}.{kind}"] = value
    return weights
