"""`vlpserve detector`: a detector of the gallery is trained for a step, measured, and asked for its regions."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from vlp_cli.main import cli
from vlp_models.checkpoints.faster_rcnn_directory import read_detector
from vlp_models.data.detector_pictures import DetectorVocabulary, load_detector_examples
from vlp_models.data.faults import FaultCounter
from vlp_models.data.region_pack import RegionPack
from vlp_models.data.sources import open_source
from vlp_models.evaluation.detector_artefacts import OpenedDetector, open_detector
from vlp_models.evaluation.detector_evaluation import evaluate_detector
from vlp_models.scenes.dataset import ScenesConfig, write_scenes
from vlp_models.scenes.detector import scenes_vocabulary
from vlp_pipeline.detector_image import DetectorImageProcessor
from vlp_pipeline.images import decode_image

TRAIN, TEST = 6, 3


@pytest.fixture(autouse=True)
def _logging_left_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("gallery")
    write_scenes(root, ScenesConfig({"train": TRAIN, "test": TEST}, gallery=True))
    return root


def detector(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["detector", *map(str, arguments)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, gallery: Path) -> Path:
    out = tmp_path_factory.mktemp("runs") / "detector"
    done = detector("train", gallery, "--out", out, "--steps", 1, "--crop-steps", 1, "--threads", 0, "--limit", 5)
    assert done.exit_code == 0, done.output
    return out / "final"


def test_a_run_leaves_a_detector_of_the_scenes(trained: Path) -> None:
    checkpoint, vocabulary = read_detector(trained), scenes_vocabulary()
    assert (checkpoint.classes, checkpoint.attributes) == (vocabulary.classes, vocabulary.attributes)
    lines = [json.loads(line) for line in (trained.parent / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1]
    assert all(np.isfinite(value) for value in lines[0].values())


def test_a_run_is_resumed_or_refused(trained: Path, gallery: Path) -> None:
    arguments = ("train", gallery, "--out", trained.parent, "--crop-steps", 1, "--threads", 0, "--limit", 5)
    refused = detector(*arguments, "--steps", 1)
    assert refused.exit_code == 2
    assert "holds a run" in refused.output
    before = (trained / "model.safetensors").read_bytes()
    again = detector(*arguments, "--steps", 1, "--resume")  # it is at its end
    assert again.exit_code == 0, again.output
    assert (trained / "model.safetensors").read_bytes() == before


def test_figures_are_those_of_the_evaluation(trained: Path, gallery: Path) -> None:
    opened = open_detector(str(trained), Path())
    vocabulary = DetectorVocabulary(opened.classes, opened.attributes)
    processor = DetectorImageProcessor(opened.settings)
    examples = load_detector_examples(open_source(gallery, "test", "auto"), "test", vocabulary, processor, 2)
    expected = dataclasses.asdict(evaluate_detector(opened.detect, examples))
    done = detector("evaluate", trained, "--data", gallery, "--pictures", 2, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == pytest.approx(expected)
    table = detector("evaluate", trained, "--data", gallery, "--pictures", 2).stdout
    figures = dict(line.split() for line in table.splitlines() if len(line.split()) == 2)
    assert figures["pictures"] == "2"
    assert figures.keys() >= {"things", "recall", "class_accuracy", "regions_per_picture"}


def check_pack(folder: Path, opened: OpenedDetector, gallery: Path, split: str, count: int, *, classes: bool) -> None:
    pack = RegionPack.open(folder / split)
    pictures = list(open_source(gallery, split, "auto").read(FaultCounter(split)))[:count]
    assert pack.ids() == [raw.record.id for raw in pictures]
    for raw in pictures:
        found, expected = pack.regions(raw.record.id), opened.detect(decode_image(raw.image))
        np.testing.assert_array_equal(found.features, expected.features.astype(np.float16))
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-6)
        assert (found.class_probabilities is not None) == classes
        if found.class_probabilities is not None:
            np.testing.assert_allclose(found.class_probabilities, expected.soft_labels, atol=1e-3)


def test_the_regions_of_every_split_are_kept(trained: Path, gallery: Path, tmp_path: Path) -> None:
    opened = open_detector(str(trained), Path())
    splits = ("--split", "train", "--split", "test")
    done = detector("extract", trained, "--data", gallery, "--out", tmp_path / "all", *splits, "--limit", 2)
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    for split in ("train", "test"):
        check_pack(tmp_path / "all", opened, gallery, split, 2, classes=True)
    bare = ("--split", "test", "--no-classes")
    done = detector("extract", trained, "--data", gallery, "--out", tmp_path / "bare", *bare)
    assert done.exit_code == 0, done.output
    check_pack(tmp_path / "bare", opened, gallery, "test", TEST, classes=False)


def test_what_cannot_be_extracted_leaves_nothing(trained: Path, gallery: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    (torn / "images").mkdir(parents=True)
    (torn / "images" / "test").symlink_to(gallery / "images" / "test")
    lines = (gallery / "test.jsonl").read_text().splitlines()
    (torn / "test.jsonl").write_text("\n".join([lines[0], "{", lines[2]]))
    out = tmp_path / "out"
    for data, split, message in ((torn, "test", "1 of 3 records skipped"), (gallery, "val", "no split 'val'")):
        failed = detector("extract", trained, "--data", data, "--out", out, "--split", split)
        assert failed.exit_code == 2
        assert message in failed.output
        assert not out.exists() or list(out.iterdir()) == []
    (out / "test").mkdir(parents=True)
    failed = detector("extract", trained, "--data", gallery, "--out", out, "--split", "test")
    assert "is there already; regions are not written over it" in failed.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "nobody"], "'nobody': not in this repository"),
        (["extract", "nobody", "--out", "x"], "'nobody': not in this repository"),
        (["evaluate"], "Missing argument 'DEPLOYMENT'"),
        (["evaluate", "nobody", "--pictures", "0"], "is not in the range"),
    ],
)
def test_a_wrong_command_line_is_told(gallery: Path, arguments: list[str], message: str) -> None:
    failed = detector(*arguments, "--data", gallery)
    assert failed.exit_code == 2
    assert message in failed.output
