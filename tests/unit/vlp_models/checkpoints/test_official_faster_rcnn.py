from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from vlp_models.checkpoints.official_faster_rcnn import (
    ANCHORS,
    build_official_faster_rcnn,
    is_official_faster_rcnn,
    read_official_faster_rcnn,
)
from vlp_models.families.faster_rcnn import FasterRcnn
from vlp_models.families.faster_rcnn_config import FasterRcnnConfig
from vlp_spec.errors import ArtifactError

KEYS = Path(__file__).parents[3] / "golden" / "official_keys" / "frcnn_vg_finetuned.json"
TINY = replace(
    FasterRcnnConfig.bottom_up_attention(),
    num_classes=5,
    num_attributes=3,
    stem_width=4,
    res2_width=8,
    bottleneck_width=2,
    depths=(1, 2, 1),
    res5_depth=2,
    rpn_width=6,
)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = FasterRcnn(TINY)
    model.init_weights()
    return dict(model.state_dict())


def test_the_full_size_model_has_exactly_the_published_names_and_shapes() -> None:
    shapes = json.loads(KEYS.read_text())["shapes"]
    with torch.device("meta"):
        model = FasterRcnn(FasterRcnnConfig.bottom_up_attention())
    assert {name: list(value.shape) for name, value in model.state_dict().items()} == shapes


def test_the_published_names_build_the_full_size_model() -> None:
    shapes = json.loads(KEYS.read_text())["shapes"]
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    assert is_official_faster_rcnn(state)
    assert build_official_faster_rcnn(state, "file").config == FasterRcnnConfig.bottom_up_attention()


def test_a_file_is_read_with_its_own_anchors(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    state[ANCHORS] = state[ANCHORS] + 0.25
    torch.save(state, tmp_path / "pytorch_model.bin")
    for path in (tmp_path, tmp_path / "pytorch_model.bin"):
        checkpoint = read_official_faster_rcnn(path)
        assert checkpoint.model.config == TINY
        assert not checkpoint.model.training
        assert checkpoint.settings.cell_anchors[0] == tuple(state[ANCHORS][0].tolist())
        assert checkpoint.settings.min_score == 0.2
        for name, value in checkpoint.model.state_dict().items():
            assert torch.equal(value, state[name]), name
        assert not checkpoint.model.backbone.stem.conv1.norm.weight.requires_grad


def test_anchors_that_are_no_product_are_fine_where_there_are_as_many_as_published(
    state: dict[str, torch.Tensor],
) -> None:
    state[ANCHORS] = state[ANCHORS] * torch.linspace(1, 2, 12)[:, None]
    assert torch.equal(build_official_faster_rcnn(state, "file").cell_anchors, state[ANCHORS])


def test_batch_counters_may_be_left_out_all_together(state: dict[str, torch.Tensor]) -> None:
    without = {name: value for name, value in state.items() if "num_batches_tracked" not in name}
    assert len(without) < len(state)
    model = build_official_faster_rcnn(without, "file")
    assert model.backbone.stem.conv1.norm.num_batches_tracked == 0
    without["backbone.stem.conv1.norm.num_batches_tracked"] = torch.tensor(0)
    with pytest.raises(ArtifactError, match="missing"):
        build_official_faster_rcnn(without, "file")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("roi_heads.box_predictor.fc_attr.bias", None, "1 missing"),
        ("roi_heads.box_predictor.cls_score.bias", None, "not a detector"),
        ("backbone.extra", torch.zeros(1), "1 unexpected"),
        ("roi_heads.res5.0.conv2.weight", torch.zeros(1), "1 other shape"),
        (ANCHORS, torch.full((12, 4), torch.nan), "finite"),
        (ANCHORS, torch.zeros(12, 4), "x0 < x1"),
        (ANCHORS, torch.zeros(12), r"expected \(anchors, 4\)"),
        (ANCHORS, torch.tensor([[-1.0, -1, 1, 1], [-2, -1, 2, 1], [-3, -1, 3, 1]]), "3 anchors"),
    ],
)
def test_what_does_not_fit_is_told(
    state: dict[str, torch.Tensor], name: str, value: torch.Tensor | None, words: str
) -> None:
    changed = {key: item for key, item in {**state, name: value}.items() if item is not None}
    with pytest.raises(ArtifactError, match=words):
        build_official_faster_rcnn(changed, "file")


def test_a_file_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    torch.save({"a": Path("x")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match="not opened"):
        read_official_faster_rcnn(tmp_path)
