"""UNITER: one graph from token ids and region features to what its head says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from vlp_models.checkpoints import LoadedCheckpoint
from vlp_models.families.uniter import UniterModel
from vlp_models.families.uniter_config import UniterConfig
from vlp_pipeline.label_scores import ITM_LOGITS, LABELS_KEY, REASONING_LOGITS
from vlp_pipeline.pipeline import PAIR_PREFIXES, TEXT_AXIS
from vlp_pipeline.region_settings import RegionSettings
from vlp_pipeline.uniter_inputs import REGION_AXIS, REGION_INPUTS
from vlp_pipeline.uniter_tasks import ENTAILMENT_LOGITS, GROUNDING_BOXES, GROUNDING_LOGITS, LOGITS
from vlp_spec.deployment import AxisLimit
from vlp_spec.errors import ArtifactError
from vlp_spec.repository import LABELS_ASSET, TOKENIZER_ASSET
from vlp_spec.tasks import Task
from vlp_spec.tensors import TensorSpec

from vlp_export.plan import TRUTH_LABELS, Arrays, ExportPlan, GraphPlan, LargestEntry

MAX_BATCH = 64
_TUNED_BATCH, _TUNED_TEXT, _TUNED_REGIONS = 8, 16, 36
_MIN_TEXT = 4
_TRACED_BATCH, _TRACED_TEXT = 2, 5
_PADDED_LOGIT = -1e4  # below all that counts, and finite: what is not cannot be compared


class UniterGraph(nn.Module):
    """A head's forward pass under the graph's input names; subclasses say which."""

    def __init__(self, model: UniterModel) -> None:
        super().__init__()
        self.model = model


class AnswerGraph(UniterGraph):
    """Answer logits."""

    def forward(
        self, input_ids: Tensor, text_mask: Tensor, features: Tensor, positions: Tensor, mask: Tensor
    ) -> Tensor:
        """(B, labels); see UniterModel.encode."""
        return self.model.vqa_logits(input_ids, text_mask, features, positions, mask)


class MatchGraph(UniterGraph):
    """The judgement of a pair."""

    def forward(
        self, input_ids: Tensor, text_mask: Tensor, features: Tensor, positions: Tensor, mask: Tensor
    ) -> Tensor:
        """(B, 2), index 1 = they belong together; see UniterModel.encode."""
        regions = features, positions, mask
        if "rank" not in self.model.config.heads:
            return self.model.itm_logits(input_ids, text_mask, *regions)
        # A retrieval score has no "no": against 0, its softmax is its sigmoid.
        scores = self.model.rank_scores(input_ids, text_mask, *regions)[:, None]
        return torch.cat([torch.zeros_like(scores), scores], dim=1)


class EntailmentGraph(UniterGraph):
    """What a picture says of a hypothesis."""

    def forward(
        self, input_ids: Tensor, text_mask: Tensor, features: Tensor, positions: Tensor, mask: Tensor
    ) -> Tensor:
        """(B, labels); see UniterModel.encode."""
        return self.model.entailment_logits(input_ids, text_mask, features, positions, mask)


class GroundingGraph(UniterGraph):
    """Scores of regions for a phrase, and their boxes beside them."""

    def forward(
        self, input_ids: Tensor, text_mask: Tensor, features: Tensor, positions: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, R) and (B, R, 4); a padded region has a logit far below all others, and a box without area."""
        scores = self.model.grounding_scores(input_ids, text_mask, features, positions, mask)
        return scores.clamp(min=_PADDED_LOGIT), positions[..., :4] * mask[..., None].to(positions.dtype)


class ReasoningGraph(UniterGraph):
    """Whether a statement on two pictures is true."""

    def forward(
        self,
        input_ids: Tensor,
        text_mask: Tensor,
        left_features: Tensor,
        left_positions: Tensor,
        left_mask: Tensor,
        right_features: Tensor,
        right_positions: Tensor,
        right_mask: Tensor,
    ) -> Tensor:
        """(B, 2); see UniterModel.nlvr2_logits."""
        left, right = (left_features, left_positions, left_mask), (right_features, right_positions, right_mask)
        return self.model.nlvr2_logits(input_ids, text_mask, left, right)


def plan_uniter_vqa(checkpoint: LoadedCheckpoint) -> ExportPlan:
    """What to export of a UNITER with a VQA head.

    Raises:
        ArtifactError: the checkpoint has no answers.
    """
    labels = checkpoint.uniter.config.num_labels
    if checkpoint.labels is None or len(checkpoint.labels) != labels:
        raise ArtifactError(f"{checkpoint.source}: expected {labels} answers; give them with --labels FILE")
    answers = (json.dumps(list(checkpoint.labels), ensure_ascii=False, indent=0) + "\n").encode()
    output = TensorSpec(LOGITS, "float32", ("batch", labels))
    return _plan(checkpoint, Task.VQA, AnswerGraph, (output,), assets={LABELS_ASSET: answers})


def plan_uniter_match(checkpoint: LoadedCheckpoint) -> ExportPlan:
    """What to export of a UNITER with a head for matching ("itm") or retrieval ("rank")."""
    output = TensorSpec(ITM_LOGITS, "float32", ("batch", 2))
    return _plan(checkpoint, Task.MATCH, MatchGraph, (output,), head={LABELS_KEY: TRUTH_LABELS})


def plan_uniter_entailment(checkpoint: LoadedCheckpoint) -> ExportPlan:
    """What to export of a UNITER with a head for entailment; the labels are the checkpoint's own."""
    labels = list(checkpoint.uniter.config.entailment_labels)
    output = TensorSpec(ENTAILMENT_LOGITS, "float32", ("batch", len(labels)))
    return _plan(checkpoint, Task.ENTAILMENT, EntailmentGraph, (output,), head={LABELS_KEY: labels})


def plan_uniter_reasoning(checkpoint: LoadedCheckpoint) -> ExportPlan:
    """What to export of a UNITER with a head for statements on two pictures."""
    output = TensorSpec(REASONING_LOGITS, "float32", ("batch", 2))
    return _plan(
        checkpoint, Task.REASONING, ReasoningGraph, (output,), head={LABELS_KEY: TRUTH_LABELS}, sides=PAIR_PREFIXES
    )


def plan_uniter_grounding(checkpoint: LoadedCheckpoint) -> ExportPlan:
    """What to export of a UNITER with a head for referring expressions."""
    outputs = (
        TensorSpec(GROUNDING_LOGITS, "float32", ("batch", REGION_AXIS)),
        TensorSpec(GROUNDING_BOXES, "float32", ("batch", REGION_AXIS, 4)),
    )
    return _plan(checkpoint, Task.GROUNDING, GroundingGraph, outputs)


def _plan(
    checkpoint: LoadedCheckpoint,
    task: Task,
    graph: type[UniterGraph],
    outputs: tuple[TensorSpec, ...],
    *,
    head: Mapping[str, Any] | None = None,
    assets: Mapping[str, bytes] | None = None,
    sides: tuple[str, ...] = ("",),
) -> ExportPlan:
    model = checkpoint.uniter
    settings = RegionSettings.from_mapping(checkpoint.image)
    if settings.region_size != model.config.region_size:
        raise ArtifactError(
            f"{checkpoint.source}: its settings speak of features of {settings.region_size} numbers, its model reads "
            f"{model.config.region_size}"
        )
    inputs = [
        TensorSpec("input_ids", "int32", ("batch", TEXT_AXIS)),
        TensorSpec("text_mask", "int32", ("batch", TEXT_AXIS)),
    ]
    for side in sides:
        axis = f"{side}{REGION_AXIS}"
        shapes = (("batch", axis, settings.region_size), ("batch", axis, 7), ("batch", axis))
        inputs += [
            TensorSpec(f"{side}{name}", dtype, shape)
            for name, dtype, shape in zip(REGION_INPUTS, ("float32", "float32", "int32"), shapes, strict=True)
        ]
    return ExportPlan(
        family="uniter",
        tasks=(task,),
        graphs=(GraphPlan("fusion", graph(model).eval(), tuple(inputs), outputs, _traced_feeds(settings, sides)),),
        axes=_axes(model.config, settings, sides),
        image=dict(checkpoint.image),
        text=checkpoint.text,
        answer=LargestEntry(outputs[0].name),
        assets={TOKENIZER_ASSET: checkpoint.tokenizer.encode(), **(assets or {})},
        head=head or {},
    )


def _axes(config: UniterConfig, settings: RegionSettings, sides: tuple[str, ...]) -> dict[str, AxisLimit]:
    longest, most = config.max_positions, settings.max_regions
    regions = AxisLimit(1, min(_TUNED_REGIONS, most), most)
    return {
        "batch": AxisLimit(1, _TUNED_BATCH, MAX_BATCH),
        TEXT_AXIS: AxisLimit(min(_MIN_TEXT, longest), min(_TUNED_TEXT, longest), longest),
        **{f"{side}{REGION_AXIS}": regions for side in sides},
    }


def _traced_feeds(settings: RegionSettings, sides: tuple[str, ...]) -> Arrays:
    """Any valid arrays: shapes are dynamic, values do not matter, and small ones trace fast."""
    ids = np.ones((_TRACED_BATCH, _TRACED_TEXT), np.int32)
    feeds: Arrays = {"input_ids": ids, "text_mask": ids.copy()}
    for count, side in enumerate(sides, start=3):
        feeds[f"{side}region_features"] = np.ones((_TRACED_BATCH, count, settings.region_size), np.float32)
        feeds[f"{side}region_positions"] = np.full((_TRACED_BATCH, count, 7), 0.5, np.float32)
        feeds[f"{side}region_mask"] = np.ones((_TRACED_BATCH, count), np.int32)
    return feeds
