"""What the exporter is told of a BLIP, task by task. Nothing is exported here."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from tiny_blip import IMAGE, MAX_TEXT, POSITIONS, blip_tokenizer, tiny_blip, write_tiny_blip
from vlp_export import exporter
from vlp_export.exporter import export_checkpoint
from vlp_export.module_runs import run_module
from vlp_export.options import ExportOptions
from vlp_export.plan import ExportPlan, LargestEntry
from vlp_export.plans import own_task, plan_export
from vlp_models.checkpoints import LoadedCheckpoint, load_checkpoint
from vlp_spec.deployment import AxisLimit
from vlp_spec.errors import ArtifactError
from vlp_spec.tasks import Task

PUBLISHED = {"num_beams": 3, "length_penalty": 1.0, "repetition_penalty": 1.0}


def checkpoint_of(*heads: str, labels: tuple[str, ...] | None = None, **changes: object) -> LoadedCheckpoint:
    return LoadedCheckpoint(tiny_blip(*heads, **changes), blip_tokenizer(), labels, IMAGE, "somewhere")


def planned(*heads: str, **changes: object) -> ExportPlan:
    checkpoint = checkpoint_of(*heads, **changes)  # type: ignore[arg-type]
    return plan_export(checkpoint, own_task(checkpoint))


@pytest.mark.parametrize(
    ("head", "tasks", "roles"),
    [
        ("caption", (Task.CAPTION,), ["vision", "cross", "decoder"]),
        ("vqa", (Task.VQA,), ["vision", "cross", "question", "decoder"]),
        ("match", (Task.MATCH, Task.EMBEDDINGS, Task.CLASSIFY), ["vision", "cross", "fusion", "text"]),
        ("reasoning", (Task.REASONING,), ["vision", "pair"]),
    ],
)
def test_each_head_is_a_deployment_of_several_graphs(head: str, tasks: tuple[Task, ...], roles: list[str]) -> None:
    plan = planned(head)
    assert (plan.family, plan.tasks) == ("blip", tasks)
    assert [graph.role for graph in plan.graphs] == roles
    assert set(plan.assets) == {"tokenizer.json"}
    assert plan.text == {"type": "bert", "max_length": MAX_TEXT}
    # The canary and the answer know tensors by name: no two graphs may have the same.
    for side in ("inputs", "outputs"):
        names = [spec.name for graph in plan.graphs for spec in getattr(graph, side)]
        assert len(set(names)) == len(names)
    for graph in plan.graphs:
        sizes: dict[str, int] = {}
        for spec in graph.inputs:
            shape = graph.example[spec.name].shape
            sizes |= {axis: size for axis, size in zip(spec.shape, shape, strict=True) if isinstance(axis, str)}
        assert set(sizes) <= set(plan.axes)
        assert len(set(sizes.values())) == len(sizes)
        assert min(sizes.values()) >= 2
    named = {size for graph in plan.graphs for spec in graph.inputs for size in spec.shape if isinstance(size, str)}
    assert named == set(plan.axes)


@pytest.mark.parametrize("head", ["caption", "vqa", "match", "reasoning"])
def test_each_graph_gives_what_its_plan_says(head: str) -> None:
    """Texts and pictures are of different widths here."""
    for graph in planned(head, layers=2).graphs:
        found = run_module(graph, dict(graph.example))
        sizes = {
            axis: size
            for spec in graph.inputs
            for axis, size in zip(spec.shape, graph.example[spec.name].shape, strict=True)
        }
        assert {name: array.shape for name, array in found.items()} == {
            spec.name: tuple(sizes[size] if isinstance(size, str) else size for size in spec.shape)
            for spec in graph.outputs
        }
        assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in found.values())


def test_published_lengths_count_the_beginning_and_ours_do_not() -> None:
    # "a picture of" with [DEC]: 4 of 20 tokens at most, and of 5 at least.
    assert planned("caption").head == {**PUBLISHED, "max_tokens": 16, "min_tokens": 1, "prompt": "a picture of "}
    assert planned("caption", prompt="").head == {**PUBLISHED, "max_tokens": 19, "min_tokens": 4, "prompt": ""}
    assert planned("vqa").head == {**PUBLISHED, "max_tokens": 9, "min_tokens": 0}


def test_a_checkpoint_says_otherwise() -> None:
    own = {"max_tokens": 40, "num_beams": 1}
    assert planned("caption", prompt="", generation=own).head == {**PUBLISHED, **own, "min_tokens": 4, "prompt": ""}


def test_how_a_model_writes_is_kept_with_it(tmp_path: Path) -> None:
    own = {"max_tokens": 40, "repetition_penalty": 1.25}
    folder = write_tiny_blip(tmp_path / "own", "caption", generation=own)
    checkpoint = load_checkpoint(folder)
    assert checkpoint.blip.config.generation == own
    head = plan_export(checkpoint, Task.CAPTION).head
    assert (head["max_tokens"], head["num_beams"], head["repetition_penalty"]) == (40, 3, 1.25)
    config = json.loads((folder / "config.json").read_text())
    for broken in ({"num_beams": 1000}, {"beams": 2}, {"prompt": "a"}, [1]):
        config["vlpserve"]["generation"] = broken
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(ArtifactError, match="vlpserve.generation"):
            load_checkpoint(folder)


def test_no_tensorrt_engine_is_made_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "load_tensorrt", lambda: None)
    options = ExportOptions(format="tensorrt", precision="fp16")
    with pytest.raises(ArtifactError, match="of a blip for the task match are made as onnx, not as tensorrt"):
        export_checkpoint(write_tiny_blip(tmp_path / "own", "match"), repository=tmp_path / "r", options=options)
    assert not (tmp_path / "r").exists()


def test_axes_are_those_of_positions_and_texts() -> None:
    positions = {"tokens": AxisLimit(1, 1, POSITIONS), "past": AxisLimit(1, 16, POSITIONS)}
    looking = {"texts": AxisLimit(1, 1, 64), "text": AxisLimit(4, MAX_TEXT, MAX_TEXT)}
    batch, beams = {"batch": AxisLimit(1, 8, 64)}, {"beams": AxisLimit(1, 3, 64)}
    assert planned("caption").axes == batch | beams | positions
    assert planned("vqa").axes == batch | beams | positions | looking
    assert planned("match").axes == batch | looking
    assert planned("reasoning").axes == batch | {"text": looking["text"]}


def test_answers_come_along_and_the_temperature_is_the_heads_scale() -> None:
    plan = planned("vqa", labels=("red", "schön"))
    assert json.loads(plan.assets["labels.json"]) == ["red", "schön"]
    head = planned("match").head
    assert head == {
        "labels": ["false", "true"],
        "dimension": 12,
        "logit_scale": pytest.approx(math.exp(2.5)),
        "logit_bias": 0.0,
        "scoring": "softmax",
    }


def test_an_answer_is_the_next_word_or_the_judgement_of_the_first_text() -> None:
    assert planned("caption").answer == planned("vqa").answer == LargestEntry("logits", (0, -1))
    assert planned("match").answer == LargestEntry("itm_logits", (0,))


def test_a_model_with_several_heads_is_exported_for_each_of_them() -> None:
    checkpoint = checkpoint_of("caption", "match")
    assert own_task(checkpoint) is Task.CAPTION
    for task in (Task.MATCH, Task.EMBEDDINGS, Task.CLASSIFY):
        assert plan_export(checkpoint, task).tasks[0] is Task.MATCH
    with pytest.raises(ArtifactError, match="BlipModel is not exported for the task grounding"):
        plan_export(checkpoint, Task.GROUNDING)
