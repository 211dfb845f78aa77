"""CLIP and SigLIP: two graphs, from raw pixels and from token ids to embeddings of length 1."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from vlp_models.checkpoints import LoadedCheckpoint
from vlp_models.families.dual_encoder import DualEncoder
from vlp_models.families.dual_encoder_config import DualEncoderConfig
from vlp_pipeline.dual_encoder import IMAGE_ROLE, OUTPUTS, TEXT_ROLE
from vlp_spec.deployment import AxisLimit
from vlp_spec.repository import TOKENIZER_ASSET
from vlp_spec.tasks import Task
from vlp_spec.tensors import TensorSpec

from vlp_export.plan import BestMatch, ExportPlan, GraphPlan

MAX_BATCH = 64
_TUNED_BATCH = 8
_MIN_TEXT = 4
_TUNED_TEXT = 16
_TRACED_BATCH = 2
_TRACED_TEXT = 5


class ImageTower(nn.Module):
    """Raw pixels to an embedding of length 1."""

    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, dimension) of (B, H, W, 3) uint8."""
        return unit_length(self.model.encode_image(pixels))


class TextTower(nn.Module):
    """Token ids to an embedding of length 1."""

    def __init__(self, model: DualEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, text_mask: Tensor) -> Tensor:
        """(B, dimension) of (B, T) int32 ids and mask."""
        return unit_length(self.model.encode_text(input_ids, text_mask))


def unit_length(embeds: Tensor) -> Tensor:
    """Embeddings (B, dimension) divided by their lengths."""
    return embeds / embeds.square().sum(dim=-1, keepdim=True).sqrt()


def plan_dual_encoder(checkpoint: LoadedCheckpoint) -> ExportPlan:
    """What to export of a CLIP or SigLIP checkpoint.

    Raises:
        ArtifactError: the checkpoint is of another family.
    """
    model = checkpoint.dual_encoder
    # The same numbers from plain products and softmax; torch's fused attention exports with guards against NaN.
    model.hf.set_attn_implementation("eager")
    config = model.config
    side = config.image_size
    text = config.max_text_len if config.fixed_text else "text"
    image_graph = GraphPlan(
        role=IMAGE_ROLE,
        module=ImageTower(model).eval(),
        inputs=(TensorSpec("pixels", "uint8", ("batch", side, side, 3)),),
        outputs=(TensorSpec(OUTPUTS[IMAGE_ROLE], "float32", ("batch", config.dimension)),),
        example={"pixels": np.zeros((_TRACED_BATCH, side, side, 3), np.uint8)},
    )
    text_graph = GraphPlan(
        role=TEXT_ROLE,
        module=TextTower(model).eval(),
        inputs=(
            TensorSpec("input_ids", "int32", ("batch", text)),
            TensorSpec("text_mask", "int32", ("batch", text)),
        ),
        outputs=(TensorSpec(OUTPUTS[TEXT_ROLE], "float32", ("batch", config.dimension)),),
        example=_traced_text(config),
    )
    bias = model.logit_bias
    return ExportPlan(
        family="clip",
        tasks=(Task.EMBEDDINGS, Task.CLASSIFY),
        graphs=(image_graph, text_graph),
        axes=_axes(config),
        image=dict(checkpoint.image),
        text=checkpoint.text,
        head={
            "dimension": config.dimension,
            "logit_scale": float(model.logit_scale.detach().exp().reshape(())),
            "logit_bias": 0.0 if bias is None else float(bias.detach().reshape(())),
            "scoring": "softmax" if config.kind == "clip" else "sigmoid",
        },
        answer=BestMatch(OUTPUTS[IMAGE_ROLE], OUTPUTS[TEXT_ROLE]),
        assets={TOKENIZER_ASSET: checkpoint.tokenizer.encode()},
    )


def _axes(config: DualEncoderConfig) -> dict[str, AxisLimit]:
    axes = {"batch": AxisLimit(1, _TUNED_BATCH, MAX_BATCH)}
    if not config.fixed_text:
        longest = config.max_text_len
        axes["text"] = AxisLimit(min(_MIN_TEXT, longest), min(_TUNED_TEXT, longest), longest)
    return axes


def _traced_text(config: DualEncoderConfig) -> dict[str, np.ndarray]:
    """Any valid ids: values do not matter, and small arrays trace fast."""
    length = config.max_text_len if config.fixed_text else min(_TRACED_TEXT, config.max_text_len)
    ids = torch.ones(_TRACED_BATCH, length, dtype=torch.int32).numpy()
    return {"input_ids": ids, "text_mask": np.ones_like(ids)}
