"""A region detector as every other checkpoint is held, for what does not care about families."""

from __future__ import annotations

from vlp_models.checkpoints.answer_list import read_answer_list
from vlp_models.checkpoints.checkpoint import GivenFiles, LoadedCheckpoint
from vlp_models.checkpoints.faster_rcnn_directory import DetectorCheckpoint


def checkpoint_of(detector: DetectorCheckpoint, given: GivenFiles) -> LoadedCheckpoint:
    """The same in the common form.

    Args:
        detector: as read.
        given: its labels name the classes, where the checkpoint does not.

    Raises:
        ArtifactError: other than one name for each class.
    """
    classes = detector.classes
    if given.labels is not None:
        classes = read_answer_list(given.labels, detector.model.config.num_classes)
    return LoadedCheckpoint(
        model=detector.model,
        tokenizer="",
        labels=classes or None,
        image=detector.settings.to_mapping(),
        source=detector.source,
        attributes=detector.attributes,
    )
