import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vlp_pipeline.region_settings import RegionSettings
from vlp_pipeline.regions import check_regions
from vlp_pipeline.registry import build_pipeline
from vlp_pipeline.text import TextLimits
from vlp_spec.deployment import Deployment
from vlp_spec.errors import ArtifactError, InferenceError, InvalidArgumentError, TooLargeError
from vlp_spec.tasks import EntailmentQuery, GroundingQuery, ReasoningQuery, Task, VqaQuery
from vlp_spec.tensors import TensorSpec

WIDTH = 3
JUDGEMENTS = ["contradiction", "entailment", "neutral"]
REGIONS = check_regions(np.array([[0, 0, 0.5, 1], [0.5, 0, 1, 1]]), np.arange(2.0 * WIDTH).reshape(2, WIDTH))
OUTPUTS = {
    Task.VQA: TensorSpec("logits", "float32", ("batch", 5)),
    Task.MATCH: TensorSpec("itm_logits", "float32", ("batch", 2)),
    Task.ENTAILMENT: TensorSpec("entailment_logits", "float32", ("batch", 3)),
    Task.REASONING: TensorSpec("reasoning_logits", "float32", ("batch", 2)),
    Task.GROUNDING: TensorSpec("grounding_logits", "float32", ("batch", "regions")),
}
SIDES = ["false", "true"]
HEADS = {Task.ENTAILMENT: JUDGEMENTS, Task.REASONING: SIDES, Task.MATCH: SIDES}
Build = Callable[..., Any]


@pytest.fixture
def manifest(deployment: Deployment) -> Callable[[Task], Deployment]:
    def make(task: Task) -> Deployment:
        return dataclasses.replace(
            deployment,
            family="uniter",
            tasks=(task,),
            graphs=(dataclasses.replace(deployment.graphs[0], outputs=(OUTPUTS[task],)),),
            image={"type": "regions", "region_size": WIDTH, "extractor": "detector", "extractor_digest": "ab" * 32},
            axes={},
            head={"labels": HEADS[task]} if task in HEADS else {},
        )

    return make


@pytest.fixture
def build(manifest: Callable[[Task], Deployment], assets_dir: Path) -> Build:
    return lambda task, **limits: build_pipeline(manifest(task), assets_dir, **limits)


def row(name: str, *values: float) -> dict[str, np.ndarray]:
    return {name: np.array(values, dtype=np.float32)}


@pytest.mark.parametrize("task", list(OUTPUTS))
def test_every_task_says_which_regions_it_reads(build: Build, task: Task) -> None:
    pipeline = build(task)
    assert pipeline.family == "uniter"
    assert pipeline.regions == RegionSettings(WIDTH, 100, "detector", "ab" * 32)
    assert pipeline.prepare_regions(REGIONS).sizes == {"regions": 2}


def test_every_task_joins_its_text_and_names_it_in_messages(build: Build) -> None:
    asked = {
        Task.VQA: (VqaQuery, "question"),
        Task.ENTAILMENT: (EntailmentQuery, "hypothesis"),
        Task.REASONING: (ReasoningQuery, "statement"),
        Task.GROUNDING: (GroundingQuery, "phrase"),
        Task.MATCH: (str, "text"),
    }
    for task, (query, name) in asked.items():
        pipeline = build(task, text_limits=TextLimits(max_chars=30))
        images = [pipeline.prepare_regions(REGIONS)] * (2 if task is Task.REASONING else 1)
        item = pipeline.prepare(*images, query("red cat"))
        assert item.arrays["input_ids"].tolist() == [2, 12, 9, 3]
        assert (item.sizes["text"], len(item.sizes)) == (4, len(images) + 1)
        batch = pipeline.collate([item, item])
        assert {len(array) for array in batch.values()} == {2}
        with pytest.raises(InvalidArgumentError, match=f"{name}: holds no readable character"):
            pipeline.prepare(*images, query("\x01"))
        with pytest.raises(TooLargeError, match=f"{name}: 36 characters"):
            pipeline.prepare(*images, query("red cat " * 4 + "cats"))


def test_answers_are_ranked(build: Build) -> None:
    pipeline = build(Task.VQA)
    result = pipeline.result(VqaQuery("what?", top_k=2), row("logits", 0, -1, 5, 4, 0))
    assert [answer.answer for answer in result.answers] == ["red", "green"]
    assert [answer.score for answer in result.answers] == pytest.approx([1 / (1 + np.exp(-5)), 1 / (1 + np.exp(-4))])
    closed = pipeline.result(VqaQuery("what?", candidates=("No", "yes")), row("logits", 0, -1, 5, 4, 0))
    assert [answer.answer for answer in closed.answers] == ["yes", "No"]
    with pytest.raises(InvalidArgumentError, match="'perhaps'"):
        pipeline.prepare(pipeline.prepare_regions(REGIONS), VqaQuery("cat", candidates=("yes", "perhaps")))
    for outputs in ({}, row("logits", 1, 2), row("logits", 0, 0, np.nan, 0, 0)):
        with pytest.raises(InferenceError, match="model output: logits"):
            pipeline.result(VqaQuery("what?"), outputs)


def test_a_match_is_the_share_of_its_logit(build: Build) -> None:
    pipeline = build(Task.MATCH)
    assert pipeline.score(row("itm_logits", 1, 2)) == pytest.approx(np.e / (1 + np.e))
    assert pipeline.score(row("itm_logits", 0, -3)) == pytest.approx(1 / (1 + np.exp(3)))
    for outputs in ({}, row("itm_logits", 1), row("itm_logits", 1, np.inf)):
        with pytest.raises(InferenceError, match="itm_logits"):
            pipeline.score(outputs)


def test_a_match_is_where_the_manifest_says(manifest: Callable[[Task], Deployment], assets_dir: Path) -> None:
    turned = dataclasses.replace(manifest(Task.MATCH), head={"labels": SIDES[::-1]})
    pipeline: Any = build_pipeline(turned, assets_dir)
    assert pipeline.score(row("itm_logits", 2, 1)) == pytest.approx(np.e / (1 + np.e))


def test_judgements_are_the_manifests_labels(build: Build) -> None:
    result = build(Task.ENTAILMENT).result(EntailmentQuery("a"), row("entailment_logits", 0, 2, 1))
    assert result.label == "entailment"
    assert [one.label for one in result.scores] == ["entailment", "neutral", "contradiction"]
    weights = np.exp([2.0, 1.0, 0.0])
    assert [one.score for one in result.scores] == pytest.approx(weights / weights.sum())


def test_statements_are_told_of_left_and_right(build: Build) -> None:
    pipeline = build(Task.REASONING)
    left, right = pipeline.prepare_regions(REGIONS), pipeline.prepare_regions(REGIONS.first(1))
    item = pipeline.prepare(left, right, ReasoningQuery("red"))
    assert item.sizes == {"text": 3, "left_regions": 2, "right_regions": 1}
    result = pipeline.result(ReasoningQuery("red"), row("reasoning_logits", 0, 1))
    assert (result.label, result.score) == (True, pytest.approx(np.e / (1 + np.e)))
    assert not pipeline.result(ReasoningQuery("red"), row("reasoning_logits", 1, 0)).label


BOXES = np.array([[0, 0, 0.5, 0.5], [0.2, 0.1, 1.0004, 0.9], [-0.0003, 0.5, 0.3, 0.6], [0, 0, 0, 0]], np.float32)


def found(*logits: float, boxes: np.ndarray = BOXES) -> dict[str, np.ndarray]:
    return {"grounding_logits": np.array(logits, np.float32), "grounding_boxes": boxes}


def test_the_best_boxes_come_first_and_padding_not_at_all(build: Build) -> None:
    pipeline = build(Task.GROUNDING)
    result = pipeline.result(GroundingQuery("cat", top_k=2), found(0.0, 2.0, 1.0, -1e4))
    weights = np.exp([2.0, 1.0, 0.0])
    assert [one.score for one in result.boxes] == pytest.approx((weights / weights.sum())[:2])
    # Boxes that reach out of the picture by rounding are cut there.
    assert result.boxes[0].box == pytest.approx((0.2, 0.1, 1.0, 0.9))
    assert result.boxes[1].box == pytest.approx((0.0, 0.5, 0.3, 0.6))
    everything = pipeline.result(GroundingQuery("cat", top_k=100), found(0.0, 2.0, 1.0, 9.0))
    assert len(everything.boxes) == 3
    assert sum(one.score for one in everything.boxes) == pytest.approx(1.0)


def test_an_answer_does_not_depend_on_how_far_it_was_padded(build: Build) -> None:
    pipeline, query = build(Task.GROUNDING), GroundingQuery("cat", top_k=9)
    padded = np.concatenate([BOXES, np.zeros((5, 4), np.float32)])
    logits = (0.5, -1.0, 3.0)
    alone = pipeline.result(query, found(*logits, boxes=BOXES[:3]))
    assert pipeline.result(query, found(*logits, *[-1e4] * 6, boxes=padded)) == alone


def test_equal_scores_keep_the_order_of_the_regions(build: Build) -> None:
    result = build(Task.GROUNDING).result(GroundingQuery("cat"), found(1.0, 1.0, 1.0, -1e4))
    assert [round(one.box[1], 3) for one in result.boxes] == [0.0, 0.1, 0.5]


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({}, r"grounding_boxes None, expected \(regions, 4\)"),
        (found(1, 2, 3, 4, boxes=BOXES[:, :3]), r"grounding_boxes \(4, 3\)"),
        (found(1, 2, 3), r"grounding_logits \(3,\), expected \(4,\)"),
        (found(1, 2, np.nan, 4), "grounding_logits holds numbers that are not finite"),
        (found(1.0, boxes=np.zeros((1, 4), np.float32)), "grounding_boxes holds no box"),
        (found(1.0, boxes=np.full((1, 4), np.nan, np.float32)), "grounding_boxes holds no box"),
    ],
)
def test_outputs_that_are_no_boxes_are_refused(build: Build, outputs: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(InferenceError, match=words):
        build(Task.GROUNDING).result(GroundingQuery("cat"), outputs)


def test_names_that_do_not_fit_the_graph_are_refused(manifest: Callable[[Task], Deployment], assets_dir: Path) -> None:
    (assets_dir / "labels.json").write_text(json.dumps(["yes", "no"]))
    with pytest.raises(ArtifactError, match=r"labels\.json has 2 answers, the graph 5"):
        build_pipeline(manifest(Task.VQA), assets_dir)
    judge = dataclasses.replace(manifest(Task.ENTAILMENT), head={"labels": ["no", "yes"]})
    with pytest.raises(ArtifactError, match="labels has 2 names, the graph 3"):
        build_pipeline(judge, assets_dir)
    for task in (Task.REASONING, Task.MATCH):
        with pytest.raises(ArtifactError, match=r"deployment\.head\.labels"):
            build_pipeline(dataclasses.replace(manifest(task), head={}), assets_dir)
