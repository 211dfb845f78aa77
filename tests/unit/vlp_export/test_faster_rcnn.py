"""Both graphs of a region detector: standard operators, dynamic sizes, the checkpoint's numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from vlp_export.faster_rcnn import DETECTOR_OPERATORS, detector_axes, plan_detector
from vlp_export.onnx_graph import export_graph, save_graph
from vlp_export.operators import check_operators
from vlp_models.checkpoints.faster_rcnn_directory import DetectorCheckpoint
from vlp_models.evaluation.detector_runners import torch_runners
from vlp_models.evaluation.onnx_runner import onnx_runner
from vlp_models.families.faster_rcnn import FasterRcnn
from vlp_models.families.faster_rcnn_config import FasterRcnnConfig
from vlp_pipeline.detector_regions import BACKBONE_ROLE, ROI_HEAD_ROLE, RegionDetector
from vlp_pipeline.detector_settings import DetectorSettings

# Shaped as the published one: stride in the first convolution, dilation, a box for each class, frozen norms.
CONFIG = FasterRcnnConfig(
    num_classes=6,
    num_attributes=3,
    stem_width=4,
    res2_width=8,
    bottleneck_width=4,
    depths=(1, 1, 2),
    res5_depth=2,
    rpn_width=8,
    roi_resolution=5,
    anchor_sizes_px=(24.0, 48.0),
    anchor_ratios=(1.0, 2.0),
)


@pytest.fixture(scope="module")
def checkpoint() -> DetectorCheckpoint:
    torch.manual_seed(0)
    model = FasterRcnn(CONFIG)
    model.init_weights()
    for norm in model.norms():
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.uniform_(norm.running_var, 0.5, 1.5)
        torch.nn.init.normal_(norm.running_mean, std=0.1)
    settings = DetectorSettings(
        ((0.0, 0.0, 1.0, 1.0),), shorter_edge=64, longer_edge=128, post_nms_top_n=40, max_regions=20
    )
    return DetectorCheckpoint(model.eval(), model.anchored(settings))


def export_detector(checkpoint: DetectorCheckpoint, folder: Path) -> dict[str, Path]:
    """Role -> graph."""
    axes, paths = detector_axes(checkpoint.settings), {}
    for plan in plan_detector(checkpoint.model, checkpoint.settings):
        named = {size for spec in plan.inputs for size in spec.shape if isinstance(size, str)}
        graph = export_graph(plan, {name: axes[name] for name in sorted(named)})
        check_operators(graph, DETECTOR_OPERATORS)
        paths[plan.role] = folder / f"{plan.role}.onnx"
        save_graph(graph, paths[plan.role])
    return paths


def check_detections(checkpoint: DetectorCheckpoint, graphs: dict[str, Path], pictures: list[np.ndarray]) -> None:
    """From end to end, the graphs find as many regions as the checkpoint, with the same places and features."""
    detector = RegionDetector(checkpoint.settings)
    exported = [onnx_runner(graphs[role]) for role in (BACKBONE_ROLE, ROI_HEAD_ROLE)]
    for pixels in pictures:
        found = detector.detect(pixels, *exported)
        wanted = detector.detect(pixels, *torch_runners(checkpoint.model))
        assert len(found) == len(wanted) > 0
        assert np.abs(found.boxes - wanted.boxes).max() < 1e-4
        scale = np.abs(wanted.features).max()
        assert np.abs(found.features - wanted.features).max() < 1e-5 * max(scale, 1.0)


@pytest.fixture(scope="module")
def graphs(checkpoint: DetectorCheckpoint, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return export_detector(checkpoint, tmp_path_factory.mktemp("graphs"))


def _pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in ((64, 64), (70, 99), (300, 90), (200, 8))]


def test_the_graphs_are_the_checkpoint_on_pictures_of_any_size(
    checkpoint: DetectorCheckpoint, graphs: dict[str, Path]
) -> None:
    check_detections(checkpoint, graphs, _pictures())


def test_pooling_is_onnx_own_and_there_is_nothing_else_that_is_rare(graphs: dict[str, Path]) -> None:
    models = {role: onnx.load(path) for role, path in graphs.items()}
    kinds = {role: [node.op_type for node in model.graph.node] for role, model in models.items()}
    assert kinds[ROI_HEAD_ROLE].count("MaxRoiPool") == 1
    assert "MaxRoiPool" not in kinds[BACKBONE_ROLE]
    assert {node.domain for model in models.values() for node in model.graph.node} == {""}
    assert not any(model.functions for model in models.values())
    # Norms are folded into the convolutions before them.
    assert not {"BatchNormalization", "If", "Loop"} & {kind for names in kinds.values() for kind in names}


def test_inputs_and_outputs_carry_the_plans_names_and_axes(
    checkpoint: DetectorCheckpoint, graphs: dict[str, Path]
) -> None:
    for plan in plan_detector(checkpoint.model, checkpoint.settings):
        graph = onnx.load(graphs[plan.role]).graph
        for value, spec in zip([*graph.input, *graph.output], [*plan.inputs, *plan.outputs], strict=True):
            shape = tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)
            assert (value.name, shape) == (spec.name, spec.shape)


def test_pictures_of_one_size_share_a_batch(checkpoint: DetectorCheckpoint, graphs: dict[str, Path]) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.uniform(0, 255, (3, 3, 64, 80)).astype(np.float32)
    run_backbone, run_head = (onnx_runner(graphs[role]) for role in (BACKBONE_ROLE, ROI_HEAD_ROLE))
    maps = run_backbone({"pixels": pixels})
    rois = np.tile(np.array([[0, 0, 30, 30], [20, 10, 79, 63], [0, 0, 0, 0]], np.float32), (3, 1, 1))
    found = run_head({"roi_feature_map": maps["feature_map"], "rois": rois})
    _, torch_head = torch_runners(checkpoint.model)
    expected = torch_head({"roi_feature_map": maps["feature_map"], "rois": rois})
    for name, value in expected.items():
        assert np.abs(found[name] - value).max() < 1e-4, name
    alone = run_head({"roi_feature_map": maps["feature_map"][2:], "rois": rois[2:, :2]})
    assert np.abs(alone["region_features"][0] - found["region_features"][2, :2]).max() < 1e-5


def test_bytes_go_in_where_the_settings_say_so(checkpoint: DetectorCheckpoint, tmp_path: Path) -> None:
    bytes_in = replace(checkpoint, settings=replace(checkpoint.settings, pixel_dtype="uint8"))
    graphs = export_detector(bytes_in, tmp_path)
    elem_type = onnx.load(graphs[BACKBONE_ROLE]).graph.input[0].type.tensor_type.elem_type
    assert elem_type == onnx.TensorProto.UINT8
    check_detections(bytes_in, graphs, _pictures()[:2])
