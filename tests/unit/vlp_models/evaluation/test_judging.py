from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_gallery import JUDGEMENTS, NAMES, REGION_SIZE, gallery_picture, gallery_regions, write_gallery
from vlp_models.data.faults import FaultCounter
from vlp_models.data.records import PictureRecord
from vlp_models.data.region_store import open_region_store
from vlp_models.data.sources import RawPicture, open_source
from vlp_models.data.tokenizer_building import build_tokenizer
from vlp_models.evaluation.judging import JudgingModel, judge_split, open_judge
from vlp_models.families.uniter import UniterModel
from vlp_models.families.uniter_config import UniterConfig
from vlp_pipeline.label_scores import REASONING_LOGITS, LabelScores
from vlp_pipeline.pipeline import Item, PreparedImage
from vlp_pipeline.region_settings import RegionSettings
from vlp_pipeline.text import TextProcessor
from vlp_pipeline.uniter_inputs import UniterInputs
from vlp_pipeline.uniter_tasks import (
    ENTAILMENT_LOGITS,
    GROUNDING_BOXES,
    GROUNDING_LOGITS,
    LOGITS,
    UniterEntailmentPipeline,
    UniterGroundingPipeline,
    UniterReasoningPipeline,
    UniterVqaPipeline,
)
from vlp_pipeline.vqa import AnswerRanker
from vlp_server.engines.dummy_deployment import build_dummy_deployment
from vlp_spec.deployment_json import dump_deployment
from vlp_spec.errors import ArtifactError, InvalidImageError, TaskNotSupportedError
from vlp_spec.repository import RepositoryLayout
from vlp_spec.tasks import ReasoningResult, Task

ANSWERS = (*NAMES, "no")
PICTURES = 14
Arrays = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gallery(tmp_path_factory.mktemp("gallery"), {"test": PICTURES})


def texts() -> TextProcessor:
    words = ["which colour is the left box? red green blue", "a second picture there is heavy cloud right at one"]
    return TextProcessor.from_file(build_tokenizer(words, vocab_size=120, lowercase=True).to_str().encode(), 14)


def uniter(processor: TextProcessor) -> UniterModel:
    config = UniterConfig(
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        intermediate_size=32,
        vocab_size=processor.vocab_size,
        max_positions=14,
        heads=("vqa", "entailment", "nlvr2", "grounding"),
        num_token_types=3,
        region_size=REGION_SIZE,
        num_labels=len(ANSWERS),
        entailment_labels=JUDGEMENTS,
    )
    torch.manual_seed(3)
    model = UniterModel(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


class Judge:
    """A tiny UNITER with random weights for one task, asked in batches as a graph is, or row by row."""

    def __init__(self, gallery: Path, task: Task) -> None:
        self.texts = texts()
        self.model, self.store = uniter(self.texts), open_region_store(gallery / "regions" / "test")
        inputs = UniterInputs(RegionSettings(REGION_SIZE), self.texts)
        pair = dataclasses.replace(inputs, pictures=2)
        pipeline = {
            Task.ENTAILMENT: UniterEntailmentPipeline(inputs, LabelScores(JUDGEMENTS, ENTAILMENT_LOGITS)),
            Task.GROUNDING: UniterGroundingPipeline(inputs),
            Task.VQA: UniterVqaPipeline(inputs, AnswerRanker(ANSWERS)),
            Task.REASONING: UniterReasoningPipeline(pair, LabelScores(("false", "true"), REASONING_LOGITS)),
        }[task]
        self.batches: list[int] = []
        self.opened = JudgingModel(
            "tiny@1",
            task,
            pipeline,
            lambda raw: pipeline.prepare_regions(self.store.regions(raw.record.id)),
            lambda feeds: self.run(task, feeds),
        )

    @torch.no_grad()
    def run(self, task: Task, feeds: Arrays) -> dict[str, np.ndarray]:
        self.batches.append(len(feeds["input_ids"]))
        tensors = {name: torch.from_numpy(array) for name, array in feeds.items()}
        text = tensors["input_ids"], tensors["text_mask"]

        def side(prefix: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            features, positions, mask = (f"{prefix}region_{name}" for name in ("features", "positions", "mask"))
            return tensors[features], tensors[positions], tensors[mask]

        if task is Task.REASONING:
            logits = self.model.nlvr2_logits(*text, side("left_"), side("right_"))
            return {REASONING_LOGITS: logits.numpy()}
        if task is Task.GROUNDING:
            scores = self.model.grounding_scores(*text, *side("")).clamp(min=-1e4)
            boxes = tensors["region_positions"][..., :4] * tensors["region_mask"][..., None]
            return {GROUNDING_LOGITS: scores.numpy(), GROUNDING_BOXES: boxes.numpy()}
        name, ask = (
            (LOGITS, self.model.vqa_logits) if task is Task.VQA else (ENTAILMENT_LOGITS, self.model.entailment_logits)
        )
        return {name: ask(*text, *side("")).numpy()}

    def inputs(self, text: str, *indices: int) -> list[torch.Tensor]:
        """A text and the regions of pictures, without the pipeline."""
        ids = torch.from_numpy(self.texts.encode(text))[None]
        found = [ids, torch.ones_like(ids)]
        for index in indices:
            regions = self.store.regions(f"test-{index}")
            arrays = regions.features, regions.positions, np.ones(len(regions), np.int32)
            found += [torch.from_numpy(np.array(array))[None] for array in arrays]
        return found


def records(gallery: Path) -> list[PictureRecord]:
    return list(open_source(gallery, "test", "auto").read_records(FaultCounter("test")))


@torch.no_grad()
def one_by_one(judge: Judge, gallery: Path, task: Task) -> list[tuple[str, float]]:
    """(type, 1 or 0) of every example, each asked alone."""
    found: list[tuple[str, float]] = []
    model = judge.model
    for index, record in enumerate(records(gallery)):
        if task is Task.ENTAILMENT:
            for one in record.hypotheses:
                best = int(model.entailment_logits(*judge.inputs(one.text, index)).argmax())
                found.append((one.type, float(JUDGEMENTS[best] == one.label)))
        elif task is Task.VQA:
            for question in record.questions:
                best = int(model.vqa_logits(*judge.inputs(question.text, index)).argmax())
                found.append((question.type, question.answers.get(ANSWERS[best], 0.0)))
        elif task is Task.GROUNDING:
            boxes = gallery_regions(index).boxes
            for phrase in record.phrases:
                box = boxes[int(model.grounding_scores(*judge.inputs(phrase.text, index)).argmax())]
                found.append((phrase.type, float(overlap(box, phrase.box) > 0.5)))
        else:
            for told in record.pair_statements:
                ids, mask, *rest = judge.inputs(told.text, index, int(told.other.removeprefix("test-")))
                logits = model.nlvr2_logits(ids, mask, tuple(rest[:3]), tuple(rest[3:]))
                found.append((told.type, float(bool(logits.argmax()) == told.is_true)))
    return found


def overlap(one: Any, other: Any) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(shared / (sum(areas) - shared))


def ignore(done: int) -> None: ...


@pytest.mark.parametrize("task", [Task.ENTAILMENT, Task.REASONING, Task.GROUNDING, Task.VQA])
def test_the_report_is_what_asking_one_by_one_gives(gallery: Path, task: Task) -> None:
    judge = Judge(gallery, task)
    expected = one_by_one(judge, gallery, task)
    report = judge_split(judge.opened, gallery, "test", batch_size=4, watch=ignore)
    assert max(judge.batches) == 4
    assert report.questions == len(expected)
    kinds = sorted({kind for kind, _ in expected})
    assert [item.type for item in report.types] == kinds
    for item in report.types:
        hits = [hit for kind, hit in expected if kind == item.type]
        assert (item.questions, item.accuracy) == (len(hits), pytest.approx(np.mean(hits)))
    assert 0 < report.accuracy < 1, "too even to tell mistakes"


def test_the_baseline_is_the_most_frequent_right_label_of_each_type(gallery: Path) -> None:
    judge = Judge(gallery, Task.ENTAILMENT)
    report = judge_split(judge.opened, gallery, "test", watch=ignore)
    asked = [one for record in records(gallery) for one in record.hypotheses]
    colours = [one.label for one in asked if one.type == "colour"]
    assert [item.baseline_answer for item in report.types] == ["entailment", "neutral"]
    assert report.types[0].baseline == pytest.approx(colours.count("entailment") / len(colours))
    assert (report.types[1].baseline, report.baseline_split) == (1.0, "test")


def test_of_equally_frequent_labels_the_first_in_the_alphabet_is_the_baseline(gallery: Path, tmp_path: Path) -> None:
    labels = ("neutral", "contradiction")
    lines = [
        json.dumps(
            {
                "id": f"test-{index}",
                "image": f"{index}.png",
                "hypotheses": [{"hypothesis": "a box", "label": label}],
            }
        )
        for index, label in enumerate(labels)
    ]
    (tmp_path / "test.jsonl").write_text("\n".join(lines))
    for index in range(2):
        (tmp_path / f"{index}.png").write_bytes(gallery_picture(index))
    report = judge_split(Judge(gallery, Task.ENTAILMENT).opened, tmp_path, "test", watch=ignore)
    assert [(item.type, item.baseline, item.baseline_answer) for item in report.types] == [
        ("other", 0.5, "contradiction")
    ]


def test_finding_has_no_baseline(gallery: Path) -> None:
    report = judge_split(Judge(gallery, Task.GROUNDING).opened, gallery, "test", watch=ignore)
    assert {(item.baseline, item.baseline_answer) for item in report.types} == {(0.0, "")}
    assert [item.type for item in report.types] == ["left", "other", "right"]
    assert report.types[1].accuracy == 0  # the clouds, of which no region is near


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_answers_do_not_depend_on_the_batch(gallery: Path, batch_size: int) -> None:
    judge = Judge(gallery, Task.VQA)
    watched: list[int] = []
    report = judge_split(judge.opened, gallery, "test", batch_size=batch_size, watch=watched.append)
    assert watched[-1] == report.questions == 2 * PICTURES
    assert len(watched) == -(-2 * PICTURES // (8 * batch_size))
    assert report == judge_split(judge.opened, gallery, "test", batch_size=5, watch=ignore)


def test_no_more_are_asked_than_wanted(gallery: Path) -> None:
    judge = Judge(gallery, Task.VQA)
    assert judge_split(judge.opened, gallery, "test", limit=7, batch_size=2, watch=ignore).questions == 7
    assert sum(judge.batches) == 7


def test_a_split_with_nothing_for_the_task_is_refused(gallery: Path, tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(gallery_picture(0))
    (tmp_path / "test.jsonl").write_text(json.dumps({"id": "test-0", "image": "0.png", "captions": ["a"]}))
    for task in (Task.ENTAILMENT, Task.REASONING, Task.GROUNDING, Task.VQA):
        with pytest.raises(ArtifactError, match=f"split 'test': nothing in it for the task {task}"):
            judge_split(Judge(gallery, task).opened, tmp_path, "test", watch=ignore)


def test_pictures_without_regions_are_left_out_or_end_the_evaluation(gallery: Path, tmp_path: Path) -> None:
    more = write_gallery(tmp_path, {"test": PICTURES + 3})
    with pytest.raises(ArtifactError, match=r"3 of .* records skipped"):
        judge_split(Judge(gallery, Task.VQA).opened, more, "test", watch=ignore)


class _Told:
    """A pipeline that says a statement is true where its number is even, and notes what it is given."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.prepared: list[str] = []
        self.pairs: list[tuple[str, str]] = []

    def prepare_picture(self, raw: RawPicture) -> PreparedImage:
        if raw.record.id == self.broken:
            raise InvalidImageError("image: broken")
        self.prepared.append(raw.record.id)
        return PreparedImage(raw.record.id, {}, {})

    def prepare(self, left: PreparedImage, right: PreparedImage, query: Any) -> Item:
        self.pairs.append((left.digest, right.digest))
        return Item({"number": np.array(int(query.statement))}, {"text": 1})

    def collate(self, items: list[Item]) -> dict[str, np.ndarray]:
        return {"number": np.stack([item.arrays["number"] for item in items])}

    def result(self, query: Any, outputs: Arrays) -> ReasoningResult:
        return ReasoningResult(float(outputs["number"] % 2 == 0))

    @property
    def opened(self) -> JudgingModel:
        return JudgingModel("told@1", Task.REASONING, self, self.prepare_picture, dict)


def write_told(root: Path, told: dict[str, list[tuple[str, bool]]]) -> Path:
    """Picture -> the other picture of each of its statements, and whether it is true; numbered over the whole split."""
    (root / "0.png").write_bytes(gallery_picture(0))
    lines, number = [], 0
    for name, statements in told.items():
        record: dict[str, Any] = {"id": name, "image": "0.png", "pair_statements": []}
        for other, is_true in statements:
            record["pair_statements"].append({"statement": str(number), "other": other, "label": is_true})
            number += 1
        lines.append(json.dumps(record))
    (root / "test.jsonl").write_text("\n".join(lines))
    return root


def test_the_other_picture_may_come_before_or_after_and_each_is_prepared_once(tmp_path: Path) -> None:
    told = {
        "a": [("c", True), ("b", False)],
        "nobody": [],
        "b": [("a", True)],
        "c": [("c", False), ("a", True), ("d", False)],
        "d": [],
    }
    pipeline = _Told()
    report = judge_split(pipeline.opened, write_told(tmp_path, told), "test", watch=ignore)
    assert pipeline.prepared == ["a", "b", "c", "d"]  # no statement is about the other one
    assert sorted(pipeline.pairs) == [("a", "b"), ("a", "c"), ("b", "a"), ("c", "a"), ("c", "c"), ("c", "d")]
    assert (report.questions, report.accuracy) == (6, 1.0)  # even numbers are called true, and are


def test_a_statement_is_right_where_its_truth_is_said(tmp_path: Path) -> None:
    told = {"a": [("b", True), ("b", True), ("b", False), ("b", False), ("b", True)], "b": []}
    report = judge_split(_Told().opened, write_told(tmp_path, told), "test", watch=ignore)
    assert (report.questions, report.accuracy) == (5, 3 / 5)
    assert (report.types[0].baseline_answer, report.types[0].baseline) == ("true", 3 / 5)


def test_statements_about_a_picture_that_cannot_be_read_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = {str(index): [(str((index + 1) % 402), True)] for index in range(402)}
    pipeline = _Told(broken="5")
    report = judge_split(pipeline.opened, write_told(tmp_path, told), "test", watch=ignore)
    assert report.questions == 400
    assert not {pair for pair in pipeline.pairs if "5" in pair}
    assert "test: skipped test.jsonl:6: image: broken" in caplog.text


def test_statements_about_pictures_that_are_not_there_are_counted(tmp_path: Path) -> None:
    told = {"a": [("b", True), ("missing", True), ("missing", False)], "b": [("a", True)]}
    with pytest.raises(ArtifactError, match=r"1 of 3 records skipped.*missing: not in the split, though 2 statements"):
        judge_split(_Told().opened, write_told(tmp_path, told), "test", watch=ignore)


def publish(repository: Path, name: str) -> None:
    """The manifest alone."""
    manifest = RepositoryLayout(repository).manifest(name, 1)
    manifest.parent.mkdir(parents=True)
    manifest.write_text(dump_deployment(build_dummy_deployment(name)))


def test_what_cannot_be_judged_is_refused(tmp_path: Path) -> None:
    publish(tmp_path, "a-matcher")
    publish(tmp_path, "a-extractor")
    for name, task in (("a-matcher", "match"), ("a-extractor", "regions")):
        with pytest.raises(TaskNotSupportedError, match=f"{name}@1 does {task}; evaluated here are entailment, "):
            open_judge(tmp_path, name)
    with pytest.raises(ArtifactError, match="'nobody': not in this repository"):
        open_judge(tmp_path, "nobody")
