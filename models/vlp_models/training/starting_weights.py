"""The weights that a writing model starts with: random ones, and what it can take of another model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from vlp_spec.errors import ArtifactError

from vlp_models.families.blip_config import BlipConfig
from vlp_models.layers.initialisation import init_truncated_normal, sine_cosine_grid

logger = logging.getLogger(__name__)

_POSITIONS = "vision_model.embeddings.position_embedding"
_BLOCK = "vision_model.encoder.layers.{}."
_ENCODER, _DECODER = "text_encoder.", "text_decoder.bert."


@torch.no_grad()
def init_writer(model: Any, parts: BlipConfig) -> None:
    """Initialise for training from scratch; transformers' own picture side begins with weights of nearly 0.

    Args:
        model: has transformers' `vision_model`.
        parts: its sizes.
    """
    model.apply(init_truncated_normal)
    embeddings, width = model.vision_model.embeddings, parts.hf.vision_config.hidden_size
    nn.init.trunc_normal_(embeddings.class_embedding, std=0.02)
    nn.init.trunc_normal_(embeddings.position_embedding, std=0.02)
    if width % 4 == 0:
        embeddings.position_embedding[0, 1:] = sine_cosine_grid(parts.image_size // parts.patch_size, width)


@torch.no_grad()
def take_weights(model: Any, given: Mapping[str, Tensor], place: str) -> None:
    """Load what has a name here; picture blocks above the given ones become identities.

    Where a BLIP's encoder or decoder lacks, it starts from the other.

    Args:
        model: has transformers' `vision_model`.
        given: by the model's own names; of the picture side at least.
        place: names the source in errors.

    Raises:
        ArtifactError: a weight has another shape.
    """
    expected = model.state_dict()
    taken = {name: value for name in expected if (value := _found(name, given)) is not None}
    if taken[_POSITIONS].shape != expected[_POSITIONS].shape:
        del taken[_POSITIONS]  # another grid keeps its sines and cosines
    for name, value in taken.items():
        if value.shape != expected[name].shape:
            raise ArtifactError(
                f"{place}: {name} is {tuple(value.shape)}, model.towers makes it {tuple(expected[name].shape)}"
            )
    model.load_state_dict(taken, strict=False)
    for number, block in enumerate(model.vision_model.encoder.layers):
        if not any(name.startswith(_BLOCK.format(number)) for name in taken):
            _init_as_identity(block)
    if fresh := sorted({name.split(".")[0] for name in expected if name not in taken}):
        logger.info("new, in whole or in part: %s", ", ".join(fresh))


def _found(name: str, given: Mapping[str, Tensor]) -> Tensor | None:
    """A weight by its name, or by that of the other half of the text side."""
    for prefix, other in ((_ENCODER, _DECODER), (_DECODER, _ENCODER)):
        if name.startswith(prefix) and name not in given:
            return given.get(other + name.removeprefix(prefix))
    return given.get(name)


def _init_as_identity(block: Any) -> None:
    """Let both halves add nothing yet; what feeds them keeps the variance of its input, so that they learn at once."""
    for linear in (module for module in block.modules() if isinstance(module, nn.Linear)):
        init_truncated_normal(linear, std=linear.in_features**-0.5)
    nn.init.zeros_(block.self_attn.projection.weight)
    nn.init.zeros_(block.mlp.fc2.weight)
