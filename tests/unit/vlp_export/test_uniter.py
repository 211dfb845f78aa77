"""Every graph of UNITER and of the detector: the operators in it, its axes, and the checkpoint's numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny_regions import ANSWERS, LABELS, MAX_REGIONS, READERS, tiny_detector_config, write_detector, write_uniter
from vlp_export.faster_rcnn import DETECTOR_OPERATORS, plan_faster_rcnn
from vlp_export.module_runs import run_module
from vlp_export.onnx_graph import export_graph
from vlp_export.operators import STANDARD_OPERATORS, check_operators
from vlp_export.plan import Arrays, ExportPlan
from vlp_export.plans import own_task, plan_export
from vlp_models.checkpoints import LoadedCheckpoint, load_checkpoint
from vlp_spec.deployment import AxisLimit
from vlp_spec.errors import ArtifactError
from vlp_spec.tasks import Task

WIDTH = tiny_detector_config().feature_width


def planned(folder: Path, *heads: str) -> tuple[LoadedCheckpoint, ExportPlan]:
    checkpoint = load_checkpoint(write_uniter(folder, *heads))
    return checkpoint, plan_export(checkpoint, own_task(checkpoint))


def feeds_of(plan: ExportPlan, batch: int, text: int, counts: tuple[int, ...]) -> Arrays:
    """Random rows; each side's pictures have up to as many regions as `counts` says in turn."""
    rng = np.random.default_rng(batch + text)
    lengths = rng.integers(3, text + 1, batch)
    lengths[0] = text
    found: Arrays = {}
    sides = ("left_", "right_") if plan.tasks[0] is Task.REASONING else ("",)
    found["input_ids"] = rng.integers(5, 20, (batch, text)).astype(np.int32)
    found["text_mask"] = (np.arange(text) < lengths[:, None]).astype(np.int32)
    for side, most in zip(sides, counts, strict=False):
        own = rng.integers(1, most + 1, batch)
        own[0] = most
        found[f"{side}region_features"] = rng.normal(size=(batch, most, WIDTH)).astype(np.float32)
        found[f"{side}region_positions"] = rng.random((batch, most, 7)).astype(np.float32)
        found[f"{side}region_mask"] = (np.arange(most) < own[:, None]).astype(np.int32)
    return found


@pytest.mark.parametrize("head", list(READERS.values()))
def test_its_graphs_hold_standard_operators_alone_and_give_the_checkpoints_numbers(tmp_path: Path, head: str) -> None:
    _, plan = planned(tmp_path / "reader", head)
    assert plan.operators is STANDARD_OPERATORS
    (graph,) = plan.graphs
    model = export_graph(graph, plan.axes)
    check_operators(model, STANDARD_OPERATORS)
    assert {node.domain for node in model.graph.node} == {""}
    for value, spec in zip([*model.graph.input, *model.graph.output], [*graph.inputs, *graph.outputs], strict=True):
        shape = tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)
        assert (value.name, shape) == (spec.name, spec.shape)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch, text, counts in ((1, 4, (1, 1)), (3, 14, (MAX_REGIONS, 2)), (5, 6, (2, MAX_REGIONS))):
        feeds = feeds_of(plan, batch, text, counts)
        expected = run_module(graph, feeds)
        for name, array in zip(expected, session.run(list(expected), feeds), strict=True):
            assert np.isfinite(array).all()
            np.testing.assert_allclose(array, expected[name], atol=1e-5)


@pytest.mark.parametrize("variant", ["paired", "triplet"])
def test_other_ways_to_join_two_pictures_are_exported_alike(tmp_path: Path, variant: str) -> None:
    checkpoint = load_checkpoint(write_uniter(tmp_path / "reader", "nlvr2", nlvr2_variant=variant))
    plan = plan_export(checkpoint, Task.REASONING)
    model = export_graph(plan.graphs[0], plan.axes)
    check_operators(model, STANDARD_OPERATORS)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = feeds_of(plan, 3, 7, (2, 5))
    expected = run_module(plan.graphs[0], feeds)["reasoning_logits"]
    np.testing.assert_allclose(session.run(["reasoning_logits"], feeds)[0], expected, atol=1e-5)


def test_a_detectors_graphs_hold_three_operators_more(tmp_path: Path) -> None:
    plan = plan_faster_rcnn(load_checkpoint(write_detector(tmp_path / "detector")))
    assert plan.operators is DETECTOR_OPERATORS
    assert {"MaxPool", "MaxRoiPool", "Pad"} == DETECTOR_OPERATORS - STANDARD_OPERATORS
    known = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    assert known >= DETECTOR_OPERATORS
    beyond = {}
    for graph in plan.graphs:
        named = {size for spec in graph.inputs for size in spec.shape if isinstance(size, str)}
        model = export_graph(graph, {name: plan.axes[name] for name in named})
        check_operators(model, DETECTOR_OPERATORS)
        beyond[graph.role] = {node.op_type for node in model.graph.node} - STANDARD_OPERATORS
        with pytest.raises(ArtifactError, match="operators that not every backend reads"):
            check_operators(model)
    assert beyond["detector-backbone"] <= {"MaxPool", "Pad"}
    assert beyond["detector-roi-head"] == {"MaxRoiPool"}


def test_axes_are_those_of_text_and_settings(tmp_path: Path) -> None:
    _, single = planned(tmp_path / "one", "itm")
    assert single.axes == {
        "batch": AxisLimit(1, 8, 64),
        "text": AxisLimit(4, 14, 14),
        "regions": AxisLimit(1, MAX_REGIONS, MAX_REGIONS),
    }
    _, pair = planned(tmp_path / "two", "nlvr2")
    sides = {f"{side}regions": AxisLimit(1, MAX_REGIONS, MAX_REGIONS) for side in ("left_", "right_")}
    assert pair.axes == {name: limit for name, limit in single.axes.items() if name != "regions"} | sides


def test_what_the_manifest_needs_besides_is_in_the_plan(tmp_path: Path) -> None:
    plans = {name: planned(tmp_path / name, head)[1] for name, head in READERS.items()}
    heads: dict[str, Any] = {name: dict(plan.head) for name, plan in plans.items()}
    assert heads.pop("uniter-entailment") == {"labels": list(LABELS)}
    for name in ("uniter-reasoning", "uniter-match", "uniter-rank"):
        assert heads.pop(name) == {"labels": ["false", "true"]}
    assert not any(heads.values())
    for name, plan in plans.items():
        assert set(plan.assets) == {"tokenizer.json"} | ({"labels.json"} if name == "uniter-vqa" else set())
        assert plan.image["type"] == "regions"
        assert plan.text == {"type": "bert", "max_length": 14}
        # All axes that the graph is traced with are of different sizes, so that none is taken for another.
        sizes = {}
        for spec in plan.graphs[0].inputs:
            sizes |= dict(zip(spec.shape, plan.graphs[0].example[spec.name].shape, strict=True))
        dynamic = [size for axis, size in sizes.items() if isinstance(axis, str)]
        assert len(set(dynamic)) == len(dynamic)
        assert min(dynamic) >= 2


def test_a_retrieval_score_is_the_logit_of_a_match(tmp_path: Path) -> None:
    checkpoint, plan = planned(tmp_path / "reader", "rank")
    feeds = feeds_of(plan, 4, 6, (3,))
    logits = run_module(plan.graphs[0], feeds)["itm_logits"]
    with torch.no_grad():
        scores = checkpoint.uniter.rank_scores(*(torch.from_numpy(array) for array in feeds.values()))
    np.testing.assert_array_equal(logits[:, 0], 0)
    np.testing.assert_allclose(logits[:, 1], scores.numpy(), atol=1e-6)


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    checkpoint, _ = planned(tmp_path / "reader", "vqa")
    for labels in (None, ANSWERS[:1]):
        with pytest.raises(ArtifactError, match="expected 2 answers; give them with --labels"):
            plan_export(dataclasses.replace(checkpoint, labels=labels), Task.VQA)
    other = dataclasses.replace(checkpoint, image={**checkpoint.image, "region_size": 2048})
    with pytest.raises(ArtifactError, match="speak of features of 2048 numbers, its model reads 32"):
        plan_export(other, Task.VQA)
