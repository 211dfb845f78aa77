"""Names of BLIP's published files in ours, which are those of transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

# Momentum copies and queues serve pre-training and retrieval fine-tuning alone.
_LEFT_OUT = re.compile(r"^\w+_m\.|_queue$|^queue_ptr$")
_WORDS = "text_decoder.bert.embeddings.word_embeddings.weight"
_WORD_HEAD = "text_decoder.cls.predictions.decoder.weight"
_PICTURES = "visual_encoder."
_PARTS = (
    ("cls_token", "embeddings.class_embedding"),
    ("pos_embed", "embeddings.position_embedding"),
    ("patch_embed.proj.", "embeddings.patch_embedding."),
    ("blocks.", "encoder.layers."),
    ("norm.", "post_layernorm."),
)
_BLOCK_PARTS = (
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
    (".attn.qkv.", ".self_attn.qkv."),
    (".attn.proj.", ".self_attn.projection."),
)


def blip_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put a published state dict under the names of `BlipModel`; unknown names stay and fail the strict load.

    Args:
        state: as stored, on any device.

    Returns:
        the same tensors without momentum copies and queues, and the temperature as the logarithm of its inverse. In
        files of pre-training the decoder's word head has moved away from its word table, which was the encoder's; the
        published captioner, which ties the two, takes the head's from such a file, and so does this.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if _LEFT_OUT.search(name):
            continue
        if name == "temp":
            named["logit_scale"] = -torch.log(tensor.float())
        else:
            named[_renamed(name)] = tensor
    if "itm_head.weight" in named and _WORD_HEAD in named:
        named[_WORDS] = named[_WORD_HEAD]
    return named


def _renamed(name: str) -> str:
    if not name.startswith(_PICTURES):
        return name
    rest = name.removeprefix(_PICTURES)
    for part, ours in _PARTS:
        if rest.startswith(part):
            rest = ours + rest.removeprefix(part)
            break
    for part, ours in _BLOCK_PARTS:
        rest = rest.replace(part, ours)
    return f"vision_model.{rest}"
