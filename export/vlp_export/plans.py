"""Which family and task is exported how. Families are imported when they are first asked for."""

from __future__ import annotations

import importlib
from typing import cast

from vlp_models.checkpoints import LoadedCheckpoint
from vlp_spec.errors import ArtifactError
from vlp_spec.tasks import Task

from vlp_export.plan import ExportPlan

# Class name of the checkpoint's model, task -> module, function.
PLANS: dict[tuple[str, Task], tuple[str, str]] = {
    ("ViltModel", Task.VQA): ("vlp_export.vilt", "plan_vilt_vqa"),
    ("ViltModel", Task.MATCH): ("vlp_export.vilt", "plan_vilt_match"),
    ("ViltModel", Task.REASONING): ("vlp_export.vilt", "plan_vilt_reasoning"),
    ("UniterModel", Task.VQA): ("vlp_export.uniter", "plan_uniter_vqa"),
    ("UniterModel", Task.MATCH): ("vlp_export.uniter", "plan_uniter_match"),
    ("UniterModel", Task.ENTAILMENT): ("vlp_export.uniter", "plan_uniter_entailment"),
    ("UniterModel", Task.REASONING): ("vlp_export.uniter", "plan_uniter_reasoning"),
    ("UniterModel", Task.GROUNDING): ("vlp_export.uniter", "plan_uniter_grounding"),
    ("FasterRcnn", Task.REGIONS): ("vlp_export.faster_rcnn", "plan_faster_rcnn"),
    ("DualEncoder", Task.EMBEDDINGS): ("vlp_export.dual_encoder", "plan_dual_encoder"),
    ("DualEncoder", Task.CLASSIFY): ("vlp_export.dual_encoder", "plan_dual_encoder"),
    ("BlipModel", Task.CAPTION): ("vlp_export.blip", "plan_blip_caption"),
    ("BlipModel", Task.VQA): ("vlp_export.blip", "plan_blip_vqa"),
    ("BlipModel", Task.MATCH): ("vlp_export.blip", "plan_blip_match"),
    ("BlipModel", Task.EMBEDDINGS): ("vlp_export.blip", "plan_blip_match"),
    ("BlipModel", Task.CLASSIFY): ("vlp_export.blip", "plan_blip_match"),
    ("BlipModel", Task.REASONING): ("vlp_export.blip", "plan_blip_reasoning"),
}


# Class name of the checkpoint's model, head -> the task that such a checkpoint was made for.
_OWN_TASKS: dict[tuple[str, str], Task] = {
    ("ViltModel", "vqa"): Task.VQA,
    ("ViltModel", "itm"): Task.MATCH,
    ("ViltModel", "nlvr2"): Task.REASONING,
    ("UniterModel", "vqa"): Task.VQA,
    ("UniterModel", "entailment"): Task.ENTAILMENT,
    ("UniterModel", "nlvr2"): Task.REASONING,
    ("UniterModel", "grounding"): Task.GROUNDING,
    ("UniterModel", "rank"): Task.MATCH,
    ("UniterModel", "itm"): Task.MATCH,
    ("FasterRcnn", "regions"): Task.REGIONS,
    ("DualEncoder", "embeddings"): Task.EMBEDDINGS,
    ("BlipModel", "caption"): Task.CAPTION,
    ("BlipModel", "vqa"): Task.VQA,
    ("BlipModel", "match"): Task.MATCH,
    ("BlipModel", "reasoning"): Task.REASONING,
}


def own_task(checkpoint: LoadedCheckpoint) -> Task:
    """What a checkpoint was made for, by its heads.

    Raises:
        ArtifactError: none of its heads is exported.
    """
    family, heads = type(checkpoint.model).__name__, checkpoint.config.heads
    for (known, head), task in _OWN_TASKS.items():
        if known == family and head in heads:
            return task
    exported = ", ".join(f"{known} with {head}" for known, head in _OWN_TASKS)
    raise ArtifactError(f"{checkpoint.source}: {family} with the heads {', '.join(heads)}; exported are {exported}")


def plan_export(checkpoint: LoadedCheckpoint, task: Task) -> ExportPlan:
    """What to export of a checkpoint for a task.

    Raises:
        ArtifactError: this family is not exported for this task, or the checkpoint does not fit.
    """
    key = type(checkpoint.model).__name__, task
    if key not in PLANS:
        known = ", ".join(f"{family} {name}" for family, name in PLANS)
        raise ArtifactError(f"{checkpoint.source}: {key[0]} is not exported for the task {task}; there are: {known}")
    module, function = PLANS[key]
    return cast(ExportPlan, getattr(importlib.import_module(module), function)(checkpoint))
