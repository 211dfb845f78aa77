from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_gallery import write_gallery
from tiny_regions import ATTRIBUTES, CLASSES, EXTRACTOR, MAX_REGIONS, write_detector, write_uniter
from tiny_repository import publish, write_manifest
from vlp_export.exporter import export_checkpoint
from vlp_export.options import ExportOptions
from vlp_models.data.faults import FaultCounter
from vlp_models.data.sources import open_source
from vlp_models.evaluation.detector_artefacts import OpenedDetector, extract_regions, open_detector, open_extractor
from vlp_pipeline.detector_regions import DetectedRegions
from vlp_pipeline.region_settings import RegionSettings
from vlp_spec.deployment import Deployment
from vlp_spec.encoder_digest import encoder_digest
from vlp_spec.errors import ArtifactError
from vlp_spec.found_deployment import find_deployment

WIDTH = 32


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_detector(tmp_path_factory.mktemp("checkpoints") / EXTRACTOR)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    root = tmp_path_factory.mktemp("repository")
    export_checkpoint(checkpoint, repository=root, options=ExportOptions(proof_samples=3))
    return root


def picture(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pixels = np.full((60, 80, 3), 100, np.uint8)
    for _ in range(4):
        y, x = rng.integers(0, 40), rng.integers(0, 60)
        pixels[y : y + 18, x : x + 22] = rng.integers(0, 256, 3)
    return pixels


def settings_of(deployment: Deployment) -> RegionSettings:
    return RegionSettings(WIDTH, extractor=deployment.name, extractor_digest=encoder_digest(deployment))


def test_a_checkpoint_and_its_deployment_find_the_same(checkpoint: Path, repository: Path) -> None:
    deployed = find_deployment(repository, EXTRACTOR).deployment
    ways = [
        open_detector(str(checkpoint), Path("nowhere")),
        open_detector(EXTRACTOR, repository),
        open_detector(f"{EXTRACTOR}@1", repository),
        open_extractor(repository, settings_of(deployed)),
    ]
    for opened in ways:
        assert (opened.classes, opened.attributes) == (CLASSES, ATTRIBUTES)
        assert opened.settings == ways[0].settings
    for seed in range(3):
        expected, *others = (opened.detect(picture(seed)) for opened in ways)
        assert 1 <= len(expected) <= MAX_REGIONS
        for found in others:
            np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-4)
            np.testing.assert_allclose(found.features, expected.features, atol=1e-3)
            np.testing.assert_array_equal(found.class_ids, expected.class_ids)


def test_what_is_no_detector_is_refused(tmp_path: Path, repository: Path) -> None:
    publish(tmp_path, "tiny")
    with pytest.raises(ArtifactError, match="tiny@1: does vqa, expected regions"):
        open_detector("tiny", tmp_path)
    with pytest.raises(ArtifactError, match="'nobody': not in this repository, which has tiny-detector"):
        open_detector("nobody", repository)
    reader = write_uniter(tmp_path / "reader", "itm")
    with pytest.raises(ArtifactError, match="reader: a UNITER checkpoint, expected a region detector"):
        open_detector(str(reader), repository)


def test_an_extractor_is_opened_in_the_version_that_a_model_reads(tmp_path: Path, repository: Path) -> None:
    sound = find_deployment(repository, EXTRACTOR).deployment
    other = dataclasses.replace(sound, version=2, image={**sound.image, "min_score": 0.0})
    root = tmp_path / "copy"
    root.mkdir()
    for folder in ("model_repository", "deployments"):
        (root / folder).mkdir()
        for path in (repository / folder).rglob("*"):
            target = root / folder / path.relative_to(repository / folder)
            if path.is_dir():
                target.mkdir(exist_ok=True)
            else:
                target.write_bytes(path.read_bytes())
    write_manifest(root, other)
    assert find_deployment(root, EXTRACTOR).deployment.version == 2
    assert open_extractor(root, settings_of(sound)).settings.min_score == 0.3
    gone = dataclasses.replace(settings_of(sound), extractor_digest="0" * 64)
    with pytest.raises(ArtifactError, match=r"extractor 'tiny-detector' \(000000000000\): not in this repository, or"):
        open_extractor(root, gone)
    with pytest.raises(ArtifactError, match="extractor 'nobody'"):
        open_extractor(root, dataclasses.replace(gone, extractor="nobody"))


def test_a_file_of_the_same_name_is_not_taken_for_the_extractor(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / EXTRACTOR).mkdir()
    monkeypatch.chdir(tmp_path)
    deployed = find_deployment(repository, EXTRACTOR).deployment
    assert open_extractor(repository, settings_of(deployed)).classes == CLASSES


@pytest.mark.parametrize("with_classes", [True, False])
def test_every_picture_of_a_split_gives_its_regions(checkpoint: Path, tmp_path: Path, with_classes: bool) -> None:
    opened = open_detector(str(checkpoint), tmp_path)
    root, faults = write_gallery(tmp_path, {"test": 3}), FaultCounter("test")
    found = dict(extract_regions(opened, open_source(root, "test", "auto"), faults, with_classes=with_classes))
    assert list(found) == ["test-0", "test-1", "test-2"]
    assert faults.reasons == []
    for index in range(3):
        pixels = np.asarray(Image.open(root / "images" / "test" / f"{index}.png"))
        expected, own = opened.detect(pixels), found[f"test-{index}"]
        np.testing.assert_array_equal(own.features, expected.features)
        np.testing.assert_array_equal(own.boxes, np.clip(expected.boxes, 0, 1))
        np.testing.assert_array_equal(own.scores, expected.scores)
        if with_classes:
            np.testing.assert_array_equal(own.class_probabilities, expected.soft_labels)
        else:
            assert own.class_probabilities is None


def test_pictures_that_cannot_be_read_are_counted(checkpoint: Path, tmp_path: Path) -> None:
    root, faults = write_gallery(tmp_path, {"test": 3}), FaultCounter("test")
    (root / "images" / "test" / "1.png").write_bytes(b"no picture")
    opened = open_detector(str(checkpoint), tmp_path)
    found = extract_regions(opened, open_source(root, "test", "auto"), faults, with_classes=False)
    assert [name for name, _ in found] == ["test-0", "test-2"]
    assert len(faults.reasons) == 1
    assert faults.reasons[0].startswith("test.jsonl:2: ")


def test_more_regions_than_a_caller_may_send_can_be_stored(tmp_path: Path) -> None:
    many = 150
    boxes = np.tile(np.array([[0, 0, 0.5, 0.5]], np.float32), (many, 1))
    found = DetectedRegions(
        boxes,
        np.zeros((many, 2), np.float32),
        np.ones(many, np.float32),
        np.zeros(many, np.int32),
        np.zeros(many, np.int32),
        np.full((many, 2), 0.5, np.float32),
    )
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    (tmp_path / "0.png").write_bytes(buffer.getvalue())
    (tmp_path / "test.jsonl").write_text('{"id": "a", "image": "0.png"}')
    opened = OpenedDetector(lambda pixels: found, None, (), ())  # type: ignore[arg-type]
    source = open_source(tmp_path, "test", "auto")
    ((name, regions),) = extract_regions(opened, source, FaultCounter("test"), with_classes=True)
    assert (name, len(regions)) == ("a", many)
