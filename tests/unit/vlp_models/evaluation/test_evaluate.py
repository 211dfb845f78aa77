from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_pictures import recipe_text, write_jsonl
from tiny_repository import publish
from vlp_models.checkpoints import load_checkpoint
from vlp_models.data.faults import FaultCounter
from vlp_models.data.sources import open_source
from vlp_models.evaluation.answering import answer_questions, write_predictions
from vlp_models.evaluation.artefacts import open_checkpoint, open_deployment
from vlp_models.evaluation.evaluate import EvaluationData, evaluate_model
from vlp_models.training.recipe_file import parse_recipe
from vlp_models.training.run import RunOptions, run_training
from vlp_pipeline.images import decode_image
from vlp_pipeline.text import TextProcessor
from vlp_pipeline.vilt_image import ViltImageProcessor, ViltImageSettings
from vlp_spec.errors import ArtifactError


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("data"), {"train": 12, "val": 3, "test": 9})


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    out_dir = tmp_path_factory.mktemp("run")
    run_training(parse_recipe(recipe_text(data)), RunOptions(out_dir, "cpu", progress=False))
    return out_dir / "final"


def test_answers_are_those_of_the_model_asked_one_by_one(trained: Path, data: Path) -> None:
    checkpoint = load_checkpoint(trained)
    images = ViltImageProcessor(ViltImageSettings.from_mapping(checkpoint.image))
    texts = TextProcessor.from_file(checkpoint.tokenizer.encode(), checkpoint.config.max_text_len)
    expected = []
    for raw in open_source(data, "test").read(FaultCounter("test")):
        cut = images.patches(decode_image(raw.image))
        for question in raw.record.questions:
            ids = texts.encode(question.text)
            arrays = (cut.patches, cut.grid, ids, np.ones_like(ids))
            logits = checkpoint.model.vqa_logits(*(torch.as_tensor(array)[None] for array in arrays))[0]
            expected.append((question.text, logits.sigmoid().max().item(), logits.argmax().item()))
    model, source = open_checkpoint(str(trained)), open_source(data, "test")
    found = list(answer_questions(model, source, FaultCounter("test"), batch_size=4))
    assert [item.question.text for item in found] == [text for text, _, _ in expected]
    assert [item.score for item in found] == pytest.approx([score for _, score, _ in expected], abs=1e-5)
    labels = checkpoint.labels or ()
    assert [item.answer for item in found] == [labels[index] for _, _, index in expected]


def test_the_report_counts_every_question_and_names_the_baseline(trained: Path, data: Path) -> None:
    watched: list[int] = []
    model = open_checkpoint(str(trained))
    report, predictions = evaluate_model(model, EvaluationData(data), batch_size=5, watch=watched.append)
    assert (report.questions, len(predictions), watched) == (18, 18, list(range(1, 19)))
    assert [item.type for item in report.types] == ["colour", "existence"]
    assert report.baseline_split == "train"
    assert report.types[0].baseline == pytest.approx(1 / 3)


def test_without_a_train_split_the_baseline_is_the_splits_own(trained: Path, data: Path) -> None:
    options = EvaluationData(data, "val", train_split="nothing", limit=4)
    report, predictions = evaluate_model(open_checkpoint(str(trained)), options)
    assert (report.questions, report.baseline_split) == (4, "val")
    assert [prediction.id for prediction in predictions] == ["val-0/0", "val-0/1", "val-1/0", "val-1/1"]


def test_a_blind_model_gives_one_answer_to_one_question(trained: Path, data: Path) -> None:
    _, predictions = evaluate_model(open_checkpoint(str(trained)), EvaluationData(data, blind=True))
    asked = {
        item.question.text: {other.score for other in predictions if other.question.text == item.question.text}
        for item in predictions
    }
    assert all(max(scores) - min(scores) < 1e-6 for scores in asked.values())


def test_a_published_deployment_is_evaluated_as_it_is_served(data: Path, tmp_path: Path) -> None:
    publish(tmp_path, "tiny", 1)
    publish(tmp_path, "tiny", 3)
    model = open_deployment(tmp_path, "tiny")
    assert model.name == "tiny@3"
    (tmp_path / "deployments" / "tiny" / "aliases.json").write_text('{"best": 1}')
    assert [open_deployment(tmp_path, f"tiny@{suffix}").name for suffix in ("1", "best")] == ["tiny@1"] * 2
    report, predictions = evaluate_model(model, EvaluationData(data, limit=6))
    assert report.questions == 6
    assert {item.answer for item in predictions} <= {"yes", "no", "red", "green", "2"}
    for reference in ("other", "tiny@2", "tiny@stable", "tiny@"):
        with pytest.raises(ArtifactError, match=reference.partition("@")[0]):
            open_deployment(tmp_path, reference)


def test_torn_pictures_are_left_out_or_end_the_evaluation(trained: Path, tmp_path: Path) -> None:
    root = write_jsonl(tmp_path, {"test": 4})
    (root / "images/test/1.png").write_bytes(b"no picture")
    with pytest.raises(ArtifactError, match="1 of 4 records skipped"):
        evaluate_model(open_checkpoint(str(trained)), EvaluationData(root))


def test_a_split_without_questions_is_refused(trained: Path, tmp_path: Path) -> None:
    root = write_jsonl(tmp_path, {"test": 2})
    path = root / "test.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("\n".join(json.dumps(record | {"questions": []}) for record in records))
    with pytest.raises(ArtifactError, match="no questions"):
        evaluate_model(open_checkpoint(str(trained)), EvaluationData(root))


def test_predictions_are_written_one_a_line(trained: Path, data: Path, tmp_path: Path) -> None:
    _, predictions = evaluate_model(open_checkpoint(str(trained)), EvaluationData(data, limit=2))
    write_predictions(tmp_path / "predictions.jsonl", predictions)
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["test-0/0", "test-0/1"]
    assert lines[0].keys() == {"id", "question", "type", "answer", "score"}
