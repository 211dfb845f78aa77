"""A region detector, as a checkpoint or as a deployment, that runs here: for its scores, and to extract features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vlp_pipeline.detector_pipeline import FasterRcnnPipeline
from vlp_pipeline.detector_regions import BACKBONE_ROLE, ROI_HEAD_ROLE
from vlp_pipeline.detector_settings import DetectorSettings
from vlp_pipeline.images import decode_image
from vlp_pipeline.regions import Regions, check_regions
from vlp_spec.errors import ArtifactError, RequestError
from vlp_spec.found_deployment import find_deployment
from vlp_spec.tasks import Task

from vlp_models.checkpoints.load import load_checkpoint
from vlp_models.data.faults import FaultCounter
from vlp_models.data.region_faults import STORED_REGION_LIMITS
from vlp_models.data.sources import PictureSource
from vlp_models.evaluation.detector_runners import Detect, detector_of, torch_runners
from vlp_models.evaluation.onnx_runner import onnx_runner

GRAPH_FILE = "model.onnx"


@dataclass(frozen=True)
class OpenedDetector:
    """What is needed of a detector, wherever it comes from."""

    detect: Detect
    settings: DetectorSettings
    classes: tuple[str, ...]
    attributes: tuple[str, ...]


def open_detector(source: str, repository: Path) -> OpenedDetector:
    """Open a detector.

    Args:
        source: a checkpoint directory or file; or the name of a deployment.
        repository: where deployments are.

    Raises:
        ArtifactError: there is none of this name, or it is no detector.
    """
    if Path(source).exists():
        checkpoint = load_checkpoint(source)
        settings = DetectorSettings.from_mapping(checkpoint.image)
        detect = detector_of(settings, *torch_runners(checkpoint.detector))
        return OpenedDetector(detect, settings, checkpoint.labels or (), checkpoint.attributes)
    found = find_deployment(repository, source)
    if found.deployment.tasks != (Task.REGIONS,):
        raise ArtifactError(f"{source}: does {', '.join(found.deployment.tasks)}, expected {Task.REGIONS}")
    pipeline = FasterRcnnPipeline.from_deployment(found.deployment, found.assets_dir)
    runners = [
        onnx_runner(found.graph_dir(found.deployment.graph(role)) / GRAPH_FILE)
        for role in (BACKBONE_ROLE, ROI_HEAD_ROLE)
    ]
    settings = pipeline.detector.settings
    return OpenedDetector(detector_of(settings, *runners), settings, pipeline.classes, pipeline.attributes)


def extract_regions(
    detector: OpenedDetector, source: PictureSource, faults: FaultCounter, *, with_classes: bool
) -> Iterator[tuple[str, Regions]]:
    """The regions of every picture of a split, one picture in memory at a time.

    Args:
        detector: finds them.
        source: of the split.
        faults: counts pictures that cannot be read.
        with_classes: keep the distributions over classes.
    """
    for raw in source.read(faults):
        try:
            found = detector.detect(decode_image(raw.image))
            probabilities: np.ndarray | None = found.soft_labels if with_classes else None
            yield (
                raw.record.id,
                check_regions(
                    found.boxes,
                    found.features,
                    scores=found.scores,
                    class_probabilities=probabilities,
                    limits=STORED_REGION_LIMITS,
                ),
            )
        except RequestError as error:
            faults.note(raw.place, error)
