from __future__ import annotations

from typing import Any, cast

import pytest
from vlp_export.plans import own_task, plan_export
from vlp_models.checkpoints import LoadedCheckpoint
from vlp_models.families.blip import BlipModel
from vlp_models.families.dual_encoder import DualEncoder
from vlp_models.families.faster_rcnn import FasterRcnn
from vlp_models.families.uniter import UniterModel
from vlp_models.families.vilt import ViltModel
from vlp_spec.errors import ArtifactError
from vlp_spec.tasks import Task


class Checkpoint:
    """As much of one as the choice looks at."""

    source = "somewhere"

    def __init__(self, model: type, *heads: str) -> None:
        self.model = object.__new__(model)
        self.config = type("Config", (), {"heads": heads})


def checkpoint(*made_of: Any) -> LoadedCheckpoint:
    return cast(LoadedCheckpoint, Checkpoint(*made_of))


@pytest.mark.parametrize(
    ("made_of", "task"),
    [
        ((ViltModel, "vqa"), Task.VQA),
        ((ViltModel, "itm", "mlm"), Task.MATCH),
        ((ViltModel, "itm", "vqa"), Task.VQA),
        ((ViltModel, "nlvr2"), Task.REASONING),
        ((UniterModel, "entailment"), Task.ENTAILMENT),
        ((UniterModel, "itm", "grounding"), Task.GROUNDING),
        ((UniterModel, "itm", "mlm"), Task.MATCH),
        ((FasterRcnn, "regions"), Task.REGIONS),
        ((DualEncoder, "embeddings"), Task.EMBEDDINGS),
        ((BlipModel, "caption", "match"), Task.CAPTION),
        ((BlipModel, "vqa"), Task.VQA),
        ((BlipModel, "match"), Task.MATCH),
        ((BlipModel, "reasoning"), Task.REASONING),
    ],
)
def test_a_checkpoint_is_exported_for_what_it_was_made_for(made_of: Any, task: Task) -> None:
    assert own_task(checkpoint(*made_of)) == task


def test_a_checkpoint_without_such_a_head_is_refused() -> None:
    with pytest.raises(ArtifactError, match="ViltModel with the heads mlm; exported are"):
        own_task(checkpoint(ViltModel, "mlm"))
    with pytest.raises(ArtifactError, match="is not exported for the task vqa"):
        plan_export(checkpoint(DualEncoder, "embeddings"), Task.VQA)
