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
from vlp_pipeline.region_settings import RegionSettings
from vlp_pipeline.regions import Regions, check_regions
from vlp_spec.errors import ArtifactError, RequestError
from vlp_spec.found_deployment import FoundDeployment, find_deployment, find_encoder
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
        runners = torch_runners(checkpoint.detector)
        settings = DetectorSettings.from_mapping(checkpoint.image)
        detect = detector_of(settings, *runners)
        return OpenedDetector(detect, settings, checkpoint.labels or (), checkpoint.attributes)
    return _of_deployment(find_deployment(repository, source))


def open_extractor(repository: Path, wanted: RegionSettings) -> OpenedDetector:
    """Open the deployment that makes the features which a model reads.

    Args:
        repository: where it is.
        wanted: its name, and its encoder digest: another version's features mean something else.

    Raises:
        ArtifactError: it is not there, or only in other versions.
    """
    found = find_encoder(repository, wanted.extractor, wanted.extractor_digest)
    if found is None:
        raise ArtifactError(
            f"extractor {wanted.extractor!r} ({wanted.extractor_digest[:12]}): not in this repository, or in other "
            "versions alone; give the regions' folder (--regions)"
        )
    return _of_deployment(found)


def _of_deployment(found: FoundDeployment) -> OpenedDetector:
    if found.deployment.tasks != (Task.REGIONS,):
        name = f"{found.deployment.name}@{found.deployment.version}"
        raise ArtifactError(f"{name}: does {', '.join(found.deployment.tasks)}, expected {Task.REGIONS}")
    pipeline = FasterRcnnPipeline.from_deployment(found.deployment, found.assets_dir)
    graphs = [
        onnx_runner(found.graph_dir(found.deployment.graph(role)) / GRAPH_FILE)
        for role in (BACKBONE_ROLE, ROI_HEAD_ROLE)
    ]
    settings = pipeline.detector.settings
    return OpenedDetector(detector_of(settings, *graphs), settings, pipeline.classes, pipeline.attributes)


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
