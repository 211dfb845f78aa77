from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from vlp_models.checkpoints.faster_rcnn_directory import DetectorCheckpoint, read_detector, save_detector
from vlp_models.families.faster_rcnn import FasterRcnn
from vlp_models.families.faster_rcnn_config import FasterRcnnConfig
from vlp_pipeline.detector_settings import DetectorSettings
from vlp_spec.errors import ArtifactError


@pytest.fixture
def checkpoint() -> DetectorCheckpoint:
    torch.manual_seed(0)
    config = replace(FasterRcnnConfig.scenes(2, 2), stem_width=4, res2_width=4, bottleneck_width=2, rpn_width=4)
    model = FasterRcnn(config)
    model.init_weights()
    settings = model.anchored(DetectorSettings.bottom_up_attention())
    return DetectorCheckpoint(model.eval(), settings, ("cat", "dog"), ("red", "blue"))


def test_what_is_written_is_read_again(checkpoint: DetectorCheckpoint, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "detector"
    for _ in range(2):  # the second time over the first
        save_detector(folder, checkpoint)
    loaded = read_detector(folder)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["detector"]
    assert loaded.model.config == checkpoint.model.config
    assert (loaded.settings, loaded.classes, loaded.attributes) == (
        checkpoint.settings,
        ("cat", "dog"),
        ("red", "blue"),
    )
    for name, value in checkpoint.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], value), name
    assert not loaded.model.training


def test_half_the_bytes_leave_the_anchors_exact(checkpoint: DetectorCheckpoint, tmp_path: Path) -> None:
    save_detector(tmp_path / "half", checkpoint, storage="float16")
    loaded = read_detector(tmp_path / "half")
    assert torch.equal(loaded.model.cell_anchors, checkpoint.model.cell_anchors)
    weight, own = loaded.model.backbone.stem.conv1.weight, checkpoint.model.backbone.stem.conv1.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, own.half().float())


def test_names_must_be_as_many_as_the_model_has(checkpoint: DetectorCheckpoint, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="1 names of classes, but the model has 2"):
        save_detector(tmp_path / "x", replace(checkpoint, classes=("cat",)))
    save_detector(tmp_path / "nameless", replace(checkpoint, classes=(), attributes=()))
    assert read_detector(tmp_path / "nameless").classes == ()


def test_other_files_are_left_alone(checkpoint: DetectorCheckpoint, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ArtifactError, match="not a checkpoint"):
        save_detector(tmp_path, checkpoint)
    with pytest.raises(ArtifactError, match="float8"):
        save_detector(tmp_path / "new", checkpoint, storage="float8")


@pytest.mark.parametrize(
    ("file", "key", "value", "words"),
    [
        ("config.json", "num_classes", 0, "num_classes"),
        ("config.json", "colour", 1, "unknown key 'colour'"),
        ("config.json", "classes", "cat", "expected a list of texts"),
        ("config.json", "attributes", ["red"], "1 names of attributes"),
        ("config.json", "rpn_width", 5, "other shape"),
        ("preprocessor_config.json", "stride_px", 4, "not those of the weights"),
        ("preprocessor_config.json", "cell_anchors", [[0, 0, 1, 1]], "not those of the weights"),
        ("preprocessor_config.json", "min_score", "much", "expected float"),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused(
    checkpoint: DetectorCheckpoint, tmp_path: Path, file: str, key: str, value: object, words: str
) -> None:
    folder = tmp_path / "detector"
    save_detector(folder, checkpoint)
    values = json.loads((folder / file).read_text()) | {key: value}
    (folder / file).write_text(json.dumps(values))
    with pytest.raises(ArtifactError, match=words):
        read_detector(folder)
