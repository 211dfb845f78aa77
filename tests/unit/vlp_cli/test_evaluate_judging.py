"""`vlpserve evaluate` of tiny deployments that judge and point: it reports what each example's own answer gives."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from vlp_cli.main import cli
from vlp_export.exporter import export_checkpoint
from vlp_export.options import ExportOptions
from vlp_models.checkpoints import load_checkpoint
from vlp_models.data.faults import FaultCounter
from vlp_models.data.region_store import open_region_store
from vlp_models.data.sources import open_source
from vlp_models.evaluation.detector_artefacts import open_detector
from vlp_pipeline.images import decode_image
from vlp_pipeline.regions import Regions, check_regions
from vlp_pipeline.text import TextProcessor

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))  # tests are imported one by one, not as packages
from tiny_gallery import write_gallery
from tiny_regions import ANSWERS, EXTRACTOR, LABELS, MAX_REGIONS, tiny_detector_config, write_detector, write_uniter
from tiny_repository import publish

PICTURES = 10
HEADS = {"entailment": "entailment", "reasoning": "nlvr2", "grounding": "grounding", "vqa": "vqa"}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, scratch: Path) -> Path:
    """Readers with their extractor, but for the one of questions, which names none."""
    root = tmp_path_factory.mktemp("repository")
    options = ExportOptions(proof_samples=4)
    export_checkpoint(write_detector(scratch / EXTRACTOR), repository=root, options=options)
    for name, head in HEADS.items():
        reading = options if name == "vqa" else dataclasses.replace(options, extractor=EXTRACTOR)
        export_checkpoint(write_uniter(scratch / name, head), repository=root, options=reading)
    return root


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Asked for "yes" or "no" and nothing else: the tiny model knows no other answers."""
    root = write_gallery(tmp_path_factory.mktemp("gallery"), {"test": PICTURES}, tiny_detector_config().feature_width)
    lines = [json.loads(line) for line in (root / "test.jsonl").read_text().splitlines()]
    for line in lines:
        line["questions"][0]["answers"] = {"yes": 0.6}
    (root / "test.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return root


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["evaluate", *map(str, arguments)])


def detected(scratch: Path, gallery: Path) -> dict[str, Regions]:
    """By the torch detector, picture by picture."""
    detector = open_detector(str(scratch / EXTRACTOR), Path())
    found = {}
    for raw in open_source(gallery, "test", "auto").read(FaultCounter("test")):
        regions = detector.detect(decode_image(raw.image))
        found[raw.record.id] = check_regions(regions.boxes, regions.features).first(MAX_REGIONS)
    return found


def stored(gallery: Path) -> dict[str, Regions]:
    store = open_region_store(gallery / "regions" / "test")
    return {name: store.regions(name) for name in store.ids()}


@torch.no_grad()
def answers(scratch: Path, task: str, gallery: Path, regions: dict[str, Regions]) -> Iterator[tuple[str, float]]:
    """(type, score) of each example by the checkpoint."""
    checkpoint = load_checkpoint(scratch / task)
    texts, model = TextProcessor.from_file(checkpoint.tokenizer.encode(), 14), checkpoint.uniter

    def inputs(text: str, *names: str) -> list[torch.Tensor]:
        ids = torch.from_numpy(texts.encode(text))[None]
        arrays = [ids, torch.ones_like(ids)]
        for name in names:
            own = regions[name]
            both = (torch.from_numpy(np.array(array))[None] for array in (own.features, own.positions))
            arrays += [*both, torch.ones(1, len(own), dtype=torch.int32)]
        return arrays

    for record in open_source(gallery, "test", "auto").read_records(FaultCounter("test")):
        for one in record.hypotheses if task == "entailment" else ():
            best = int(model.entailment_logits(*inputs(one.text, record.id)).argmax())
            yield one.type, float(LABELS[best] == one.label)
        for question in record.questions if task == "vqa" else ():
            best = int(model.vqa_logits(*inputs(question.text, record.id)).argmax())
            yield question.type, question.answers.get(ANSWERS[best], 0.0)
        for phrase in record.phrases if task == "grounding" else ():
            best = int(model.grounding_scores(*inputs(phrase.text, record.id)).argmax())
            yield phrase.type, float(overlap(regions[record.id].boxes[best], phrase.box) > 0.5)
        for told in record.pair_statements if task == "reasoning" else ():
            ids, mask, *rest = inputs(told.text, record.id, told.other)
            logits = model.nlvr2_logits(ids, mask, tuple(rest[:3]), tuple(rest[3:]))
            yield told.type, float(bool(logits.argmax()) == told.is_true)


def overlap(one: Any, other: Any) -> float:
    width = max(min(one[2], other[2]) - max(one[0], other[0]), 0)
    height = max(min(one[3], other[3]) - max(one[1], other[1]), 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(width * height / (sum(areas) - width * height))


def check(report: dict[str, Any], expected: list[tuple[str, float]]) -> None:
    by_type = defaultdict(list)
    for kind, score in expected:
        by_type[kind].append(score)
    assert report["questions"] == len(expected) > 0
    found = {kind: (item["questions"], item["accuracy"]) for kind, item in report["types"].items()}
    assert found == {kind: (len(scores), pytest.approx(np.mean(scores))) for kind, scores in by_type.items()}
    assert report["accuracy"] == pytest.approx(np.mean([score for _, score in expected]))
    assert report["macro_accuracy"] == pytest.approx(np.mean([np.mean(scores) for scores in by_type.values()]))


@pytest.mark.parametrize("task", ["entailment", "reasoning", "grounding"])
def test_pictures_are_judged_through_the_extractor(repository: Path, scratch: Path, gallery: Path, task: str) -> None:
    done = evaluate(task, "--repository", repository, "--data", gallery, "--json", "--batch-size", 3)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert (report["model"], report["split"], report["baseline_split"]) == (f"{task}@1", "test", "test")
    check(report, list(answers(scratch, task, gallery, detected(scratch, gallery))))


@pytest.mark.parametrize("task", ["entailment", "reasoning", "grounding", "vqa"])
def test_kept_regions_stand_in_for_the_extractor(repository: Path, scratch: Path, gallery: Path, task: str) -> None:
    regions = ("--regions", gallery / "regions" / "test")
    done = evaluate(f"{task}@1", "--repository", repository, "--data", gallery, "--json", *regions)
    assert done.exit_code == 0, done.output
    check(json.loads(done.stdout), list(answers(scratch, task, gallery, stored(gallery))))


def test_a_blind_judgement_sees_one_empty_region(repository: Path, scratch: Path, gallery: Path) -> None:
    empty = check_regions(np.array([[0, 0, 1, 1]]), np.zeros((1, tiny_detector_config().feature_width)))
    done = evaluate("entailment", "--repository", repository, "--data", gallery, "--json", "--blind")
    assert done.exit_code == 0, done.output
    regions = dict.fromkeys(stored(gallery), empty)
    check(json.loads(done.stdout), list(answers(scratch, "entailment", gallery, regions)))


@pytest.mark.parametrize("option", [("--predictions", "x.jsonl"), ("--device", "cuda")])
def test_what_a_judgement_has_no_use_for_is_refused(repository: Path, gallery: Path, option: tuple[str, str]) -> None:
    failed = evaluate("entailment", "--repository", repository, "--data", gallery, *option)
    assert failed.exit_code == 2
    assert "not for this deployment's task" in failed.output


def test_a_model_of_pictures_takes_no_regions(tmp_path: Path, gallery: Path) -> None:
    publish(tmp_path, "tiny")
    for source in (("tiny", "--repository", tmp_path), ("tiny",)):
        failed = evaluate(*source, "--data", gallery, "--regions", gallery / "regions")
        assert failed.exit_code == 2
        assert "--regions: belongs to a deployment that reads region features" in failed.output


def test_a_table_names_the_types_and_their_baselines(repository: Path, gallery: Path) -> None:
    done = evaluate("entailment", "--repository", repository, "--data", gallery, "--limit", 6)
    assert done.exit_code == 0, done.output
    first, _, *rows = done.stdout.splitlines()
    assert first == "entailment@1 on split 'test'; baseline answers counted on split 'test'"
    assert [row.split()[0] for row in rows[-4:]] == ["colour", "weight", "macro", "all"]
    assert rows[-4].split()[1] == "5"
    assert rows[-4].endswith("entailment")


def test_a_reader_without_an_extractor_needs_regions(repository: Path, gallery: Path) -> None:
    failed = evaluate("vqa", "--repository", repository, "--data", gallery)
    assert failed.exit_code == 2
    assert "names no extractor; give their folder (--regions)" in failed.output


def test_regions_of_another_width_are_refused(repository: Path, tmp_path: Path) -> None:
    other = write_gallery(tmp_path, {"test": 3})
    failed = evaluate("vqa", "--repository", repository, "--data", other, "--regions", other / "regions" / "test")
    assert failed.exit_code == 2
    assert "no readable record (3 faulty); the first fault: test.jsonl:1: " in failed.output
    assert "features: got shape (1, 6), expected (regions, 32)" in failed.output


def test_a_detector_is_not_judged(repository: Path, gallery: Path) -> None:
    failed = evaluate(EXTRACTOR, "--repository", repository, "--data", gallery)
    assert failed.exit_code == 1
    assert "does regions; evaluated here are entailment, reasoning, grounding, vqa" in failed.output
