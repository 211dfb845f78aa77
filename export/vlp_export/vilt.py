"""ViLT, for questions or for matching: one graph from raw patches and token ids to logits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from vlp_models.checkpoints import LoadedCheckpoint
from vlp_models.families.vilt import ViltModel
from vlp_pipeline.label_scores import ITM_LOGITS, LABELS_KEY, REASONING_LOGITS
from vlp_pipeline.pipeline import PAIR_PREFIXES
from vlp_pipeline.vilt_image import ViltImageProcessor, ViltImageSettings
from vlp_spec.deployment import AxisLimit
from vlp_spec.errors import ArtifactError
from vlp_spec.repository import LABELS_ASSET, TOKENIZER_ASSET
from vlp_spec.tasks import Task
from vlp_spec.tensors import TensorSpec

from vlp_export.plan import TRUTH_LABELS, Arrays, ExportPlan, GraphPlan, LargestEntry

MAX_BATCH = 64
_TUNED_BATCH = 8
_TUNED_TEXT = 16
_MIN_TEXT = 4
_TUNED_PICTURE = (640, 480)
_TRACED_GRIDS = ((1, 3), (1, 2))
_TRACED_TEXT = 5


class ViltVqaGraph(nn.Module):
    """The model's VQA forward pass under the graph's input names."""

    def __init__(self, model: ViltModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, patches: Tensor, grid: Tensor, input_ids: Tensor, text_mask: Tensor) -> Tensor:
        """Logits (B, labels) of uint8 patches, int32 grid, ids and mask; see ViltModel.encode."""
        return self.model.vqa_logits(patches, grid, input_ids, text_mask)


class ViltMatchGraph(nn.Module):
    """The model's judgement of a pair, under the graph's input names."""

    def __init__(self, model: ViltModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, patches: Tensor, grid: Tensor, input_ids: Tensor, text_mask: Tensor) -> Tensor:
        """Logits (B, 2), index 1 = they belong together; see ViltModel.encode."""
        if "itm" in self.model.config.heads:
            return self.model.itm_logits(patches, grid, input_ids, text_mask)
        # A retrieval score has no "no": against 0, its softmax is its sigmoid.
        scores = self.model.rank_scores(patches, grid, input_ids, text_mask)[:, None]
        return torch.cat([torch.zeros_like(scores), scores], dim=1)


class ViltReasoningGraph(nn.Module):
    """The model's judgement of a statement on two pictures, under the graph's input names."""

    def __init__(self, model: ViltModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: Tensor,
        text_mask: Tensor,
        left_patches: Tensor,
        left_grid: Tensor,
        right_patches: Tensor,
        right_grid: Tensor,
    ) -> Tensor:
        """Logits (B, 2); see ViltModel.nlvr2_logits."""
        return self.model.nlvr2_logits((left_patches, left_grid), (right_patches, right_grid), input_ids, text_mask)


def plan_vilt_vqa(checkpoint: LoadedCheckpoint) -> ExportPlan:
    """What to export of a ViLT checkpoint with a VQA head.

    Raises:
        ArtifactError: the checkpoint has no answers, or its processor and its model do not fit together.
    """
    model = checkpoint.vilt
    labels = model.config.num_labels
    if checkpoint.labels is None or len(checkpoint.labels) != labels:
        raise ArtifactError(f"{checkpoint.source}: expected {labels} answers; give them with --labels FILE")
    answers = (json.dumps(list(checkpoint.labels), ensure_ascii=False, indent=0) + "\n").encode()
    output = TensorSpec("logits", "float32", ("batch", labels))
    return _plan(checkpoint, Task.VQA, ViltVqaGraph(model), output, assets={LABELS_ASSET: answers})


def plan_vilt_match(checkpoint: LoadedCheckpoint) -> ExportPlan:
    """What to export of a ViLT checkpoint with a head for matching ("itm") or retrieval ("irtr").

    Raises:
        ArtifactError: its processor and its model do not fit together.
    """
    output = TensorSpec(ITM_LOGITS, "float32", ("batch", 2))
    return _plan(checkpoint, Task.MATCH, ViltMatchGraph(checkpoint.vilt), output, head={LABELS_KEY: TRUTH_LABELS})


def plan_vilt_reasoning(checkpoint: LoadedCheckpoint) -> ExportPlan:
    """What to export of a ViLT checkpoint with a head for statements on two pictures ("nlvr2").

    Raises:
        ArtifactError: its processor and its model do not fit together.
    """
    model, settings = checkpoint.vilt, _checked_settings(checkpoint)
    pixels = model.config.patch_size**2 * 3
    traced = _traced_feeds(pixels, model.config.max_text_len)
    inputs = [TensorSpec(name, "int32", ("batch", "text")) for name in ("input_ids", "text_mask")]
    example = {name: traced[name] for name in ("input_ids", "text_mask")}
    axes = _axes(settings, model.config.max_text_len)
    patches = axes.pop("patches")
    for extra, side in enumerate(PAIR_PREFIXES):
        inputs += [
            TensorSpec(f"{side}patches", "uint8", ("batch", f"{side}patches", pixels)),
            TensorSpec(f"{side}grid", "int32", ("batch", 2)),
        ]
        # Axes that may differ must differ while tracing.
        example[f"{side}patches"] = np.pad(traced["patches"], ((0, 0), (0, extra), (0, 0)))
        example[f"{side}grid"] = traced["grid"]
        axes[f"{side}patches"] = patches
    output = TensorSpec(REASONING_LOGITS, "float32", ("batch", 2))
    tables = frozenset(f"{side}grid" for side in PAIR_PREFIXES)
    graph = GraphPlan("fusion", ViltReasoningGraph(model).eval(), tuple(inputs), (output,), example, tables)
    return ExportPlan(
        family="vilt",
        tasks=(Task.REASONING,),
        graphs=(graph,),
        axes=axes,
        image=dict(checkpoint.image),
        text=checkpoint.text,
        answer=LargestEntry(output.name),
        assets={TOKENIZER_ASSET: checkpoint.tokenizer.encode()},
        head={LABELS_KEY: TRUTH_LABELS},
    )


def _checked_settings(checkpoint: LoadedCheckpoint) -> ViltImageSettings:
    settings, patch_size = ViltImageSettings.from_mapping(checkpoint.image), checkpoint.vilt.config.patch_size
    if settings.patch_size != patch_size:
        raise ArtifactError(
            f"{checkpoint.source}: its image processor cuts patches of {settings.patch_size} pixels, "
            f"its model reads {patch_size}"
        )
    return settings


def _plan(
    checkpoint: LoadedCheckpoint,
    task: Task,
    module: nn.Module,
    output: TensorSpec,
    *,
    assets: Mapping[str, bytes] | None = None,
    head: Mapping[str, Any] | None = None,
) -> ExportPlan:
    config, settings = checkpoint.vilt.config, _checked_settings(checkpoint)
    pixels = config.patch_size**2 * 3
    inputs = (
        TensorSpec("patches", "uint8", ("batch", "patches", pixels)),
        TensorSpec("grid", "int32", ("batch", 2)),
        TensorSpec("input_ids", "int32", ("batch", "text")),
        TensorSpec("text_mask", "int32", ("batch", "text")),
    )
    example = _traced_feeds(pixels, config.max_text_len)
    return ExportPlan(
        family="vilt",
        tasks=(task,),
        graphs=(GraphPlan("fusion", module.eval(), inputs, (output,), example, frozenset({"grid"})),),
        axes=_axes(settings, config.max_text_len),
        image=dict(checkpoint.image),
        text=checkpoint.text,
        answer=LargestEntry(output.name),
        assets={TOKENIZER_ASSET: checkpoint.tokenizer.encode(), **(assets or {})},
        head=dict(head or {}),
    )


def _axes(settings: ViltImageSettings, max_text: int) -> dict[str, AxisLimit]:
    processor = ViltImageProcessor(settings)
    width, height = processor.target_size(*_TUNED_PICTURE)
    tuned = (width // settings.patch_size) * (height // settings.patch_size)
    return {
        "batch": AxisLimit(1, _TUNED_BATCH, MAX_BATCH),
        "text": AxisLimit(min(_MIN_TEXT, max_text), min(_TUNED_TEXT, max_text), max_text),
        "patches": AxisLimit(1, min(tuned, processor.max_patches), processor.max_patches),
    }


def _traced_feeds(pixels: int, max_text: int) -> Arrays:
    """Any valid arrays: shapes are dynamic, values do not matter, and small ones trace fast."""
    generator = torch.Generator().manual_seed(0)
    slots = max(rows * columns for rows, columns in _TRACED_GRIDS)
    batch, text = len(_TRACED_GRIDS), min(_TRACED_TEXT, max_text)
    patches = torch.randint(0, 256, (batch, slots, pixels), generator=generator, dtype=torch.uint8)
    return {
        "patches": patches.numpy(),
        "grid": np.array(_TRACED_GRIDS, np.int32),
        "input_ids": np.ones((batch, text), np.int32),
        "text_mask": np.ones((batch, text), np.int32),
    }
