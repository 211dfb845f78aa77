"""Whole runs of a UNITER in this process, on a model of width 8 and the regions of boxes on grey."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_gallery import JUDGEMENTS, REGION_CLASSES, REGION_SIZE, uniter_recipe_text, write_gallery
from tiny_pictures import recipe_text
from vlp_models.checkpoints import load_checkpoint
from vlp_models.training.recipe_file import parse_recipe
from vlp_models.training.run import RunOptions, run_training
from vlp_models.training.run_state import saved_steps
from vlp_models.training.trainer import TrainingOutcome
from vlp_models.training.training_data import BatchPlace, choose_texts
from vlp_models.training.uniter_family import UniterFamily
from vlp_models.training.uniter_validation import UniterValidation
from vlp_spec.errors import ArtifactError, ConfigError

PRETRAINING = ("mlm", "itm", "wpa", "mrm")
JUDGING = ("entailment", "reasoning", "referring")
LEARNING = (
    "model.hidden_size=32",
    "objectives.vqa.loss=ce",
    "optimisation.lr=0.003",
    "optimisation.batch_size=12",
    "optimisation.max_steps=100",
    "evaluation.every=100",
    "evaluation.limit=48",
)
EVERYTHING = (
    "objectives.mlm.probability=0.5",
    "objectives.itm.every=2",
    "objectives.itm.negatives=hard",
    "objectives.mrm.classes=1",
    "optimisation.grad_accumulation=2",
    "optimisation.ema_decay=0.9",
    "model.dropout=0.2",
    "evaluation.every=3",
    "optimisation.max_steps=6",
)


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gallery(tmp_path_factory.mktemp("gallery"), {"train": 24, "val": 12})


def _train(
    root: Path,
    out_dir: Path,
    objectives: Sequence[str] = (),
    overrides: Sequence[str] = (),
    *,
    resume: bool = False,
) -> TrainingOutcome:
    recipe = parse_recipe(uniter_recipe_text(root, *objectives), overrides)
    return run_training(recipe, RunOptions(out_dir, "cpu", resume, progress=False))


def _lines(out_dir: Path, group: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out_dir / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["group"] == group]


def _weights(out_dir: Path) -> dict[str, torch.Tensor]:
    return load_file(out_dir / "final" / "model.safetensors")


def test_a_run_learns_and_leaves_a_checkpoint_that_answers(gallery: Path, tmp_path: Path) -> None:
    outcome = _train(gallery, tmp_path, overrides=LEARNING)
    assert (outcome.steps, outcome.is_finished) == (100, True)
    losses = [line["loss"] for line in _lines(tmp_path, "train")]
    assert np.mean(losses[-10:]) < 0.6 * losses[0]
    assert _lines(tmp_path, "eval")[-1]["vqa_accuracy"] > 0.75  # without pictures: 2/3, see below
    checkpoint = load_checkpoint(tmp_path / "final", task="vqa")
    assert set(checkpoint.labels or ()) == {"red", "green", "blue", "no"}
    assert checkpoint.image["type"] == "regions"
    assert (checkpoint.image["region_size"], checkpoint.image["max_regions"]) == (REGION_SIZE, 4)
    assert (checkpoint.image["extractor"], checkpoint.uniter.config.max_positions) == ("", 12)


def test_three_tasks_are_learned_at_once(gallery: Path, tmp_path: Path) -> None:
    longer = [value for value in LEARNING if "vqa" not in value]
    _train(gallery, tmp_path, JUDGING, longer)
    figures = _lines(tmp_path, "eval")[-1]
    assert figures.keys() >= {"entailment", "reasoning", "referring"}
    assert figures["referring_accuracy"] > 0.9  # chance: between a half and a third
    assert figures["entailment_accuracy"] > 0.9
    checkpoint = load_checkpoint(tmp_path / "final", task="entailment")
    assert checkpoint.uniter.config.entailment_labels == JUDGEMENTS
    assert checkpoint.uniter.config.num_token_types == 3
    assert set(checkpoint.config.heads) == {"entailment", "nlvr2", "grounding"}


def test_a_question_only_model_never_sees_a_picture(gallery: Path, tmp_path: Path) -> None:
    _train(gallery, tmp_path, overrides=["image.blind=true", *LEARNING])
    # Half of the questions are for one of three colours in equal numbers; the others are all answered by "no".
    assert _lines(tmp_path, "eval")[-1]["vqa_accuracy"] == pytest.approx((1 / 3 + 1) / 2)
    assert load_checkpoint(tmp_path / "final").image["region_size"] == REGION_SIZE


def test_a_stopped_run_resumes_to_the_same_weights(
    gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    objectives = (*PRETRAINING, "vqa", *JUDGING)
    _train(gallery, tmp_path / "whole", objectives, EVERYTHING)
    with monkeypatch.context() as patch:
        original = UniterValidation.__call__

        def stop_here(validation: UniterValidation) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return original(validation)

        patch.setattr(UniterValidation, "__call__", stop_here)
        outcome = _train(gallery, tmp_path / "broken", objectives, EVERYTHING)
    assert (outcome.steps, outcome.is_finished) == (3, False)
    assert not (tmp_path / "broken" / "final").exists()
    assert saved_steps(tmp_path / "broken" / "checkpoints") == [3]
    assert _train(gallery, tmp_path / "broken", objectives, EVERYTHING, resume=True).is_finished
    whole, broken = _weights(tmp_path / "whole"), _weights(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    lines = _lines(tmp_path / "broken", "train")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert ["itm" in line for line in lines] == [True, False] * 3
    assert lines[0].keys() >= {"mlm", "itm", "wra", "mrfr", "mrc", "mrc_kl", "vqa", *JUDGING}
    assert "not the one" not in caplog.text


def test_fine_tuning_starts_from_a_pretrained_checkpoint(gallery: Path, tmp_path: Path) -> None:
    _train(gallery, tmp_path / "pretrained", PRETRAINING, ["objectives.mlm.probability=0.5"])
    before = load_checkpoint(tmp_path / "pretrained" / "final")
    assert set(before.config.heads) == {"mlm", "itm", "mrfr", "mrc"}
    assert before.uniter.config.num_region_classes == REGION_CLASSES
    fine = [f"model.init={tmp_path / 'pretrained' / 'final'}", 'freeze=["uniter.embeddings.word_embeddings.*"]']
    _train(gallery, tmp_path / "tuned", JUDGING, [*fine, "text.max_length=9", "model.hidden_size=64"])
    after = load_checkpoint(tmp_path / "tuned" / "final")
    assert set(after.config.heads) == {"entailment", "nlvr2", "grounding"}
    assert (after.uniter.config.max_positions, after.uniter.config.hidden_size) == (12, 8)  # the checkpoint's
    assert after.uniter.config.num_token_types == 3
    assert before.tokenizer == after.tokenizer
    old, new = before.model.state_dict(), after.model.state_dict()
    words = "uniter.embeddings.word_embeddings.weight"
    assert torch.equal(old[words], new[words])
    assert not torch.equal(old["uniter.pooler.dense.weight"], new["uniter.pooler.dense.weight"])


def test_answers_of_the_checkpoint_are_kept(gallery: Path, tmp_path: Path) -> None:
    _train(gallery, tmp_path / "first", ("vqa",), ["optimisation.max_steps=1"])
    init = f"model.init={tmp_path / 'first' / 'final'}"
    _train(gallery, tmp_path / "second", ("vqa", "itm"), [init, "optimisation.max_steps=1", "data.limit=3"])
    first, second = (load_checkpoint(tmp_path / name / "final") for name in ("first", "second"))
    assert first.labels == second.labels
    assert len(first.labels or ()) == 4


def test_labels_keep_the_order_in_which_a_checkpoint_has_learned_them(gallery: Path, tmp_path: Path) -> None:
    _train(gallery, tmp_path / "first", ("entailment",), ["optimisation.max_steps=1"])
    source = load_checkpoint(tmp_path / "first" / "final")
    turned = tuple(reversed(JUDGEMENTS))
    source.uniter.config = replace(source.uniter.config, entailment_labels=turned)
    init = f"model.init={tmp_path / 'first' / 'final'}"
    recipe = parse_recipe(uniter_recipe_text(gallery, "entailment"), [init])
    family = UniterFamily(recipe)
    train, _ = family.load_splits()
    texts = choose_texts(recipe, train.records, given_tokenizer=source.tokenizer)
    model = family.build_model(texts, source)
    assert model.config.entailment_labels == turned
    assert all(torch.equal(model.state_dict()[name], value) for name, value in source.model.state_dict().items())
    targets = family.build_streams(train, texts, BatchPlace())[0].batch(0)["targets"]
    fresh = UniterFamily(recipe)
    fresh.load_splits()
    plain = fresh.build_streams(train, texts, BatchPlace())
    np.testing.assert_array_equal(plain[0].batch(0)["targets"], targets[:, ::-1])


def test_features_of_another_size_are_refused_at_once(gallery: Path, tmp_path: Path) -> None:
    _train(gallery, tmp_path / "first", overrides=["optimisation.max_steps=1"])
    wider = write_gallery(tmp_path / "wider", {"train": 8}, 9)
    with pytest.raises(ArtifactError, match=r"final: reads features of 6 numbers, data\.regions has 9"):
        _train(wider, tmp_path / "second", overrides=[f"model.init={tmp_path / 'first' / 'final'}"])


def test_a_checkpoint_of_another_family_is_refused(gallery: Path, tmp_path: Path) -> None:
    vilt = parse_recipe(recipe_text(gallery), ["optimisation.max_steps=1"])
    run_training(vilt, RunOptions(tmp_path / "vilt", "cpu", progress=False))
    _train(gallery, tmp_path / "uniter", overrides=["optimisation.max_steps=1"])
    with pytest.raises(ArtifactError, match='no UNITER, which model.family = "uniter" needs'):
        _train(gallery, tmp_path / "one", overrides=[f"model.init={tmp_path / 'vilt' / 'final'}"])
    other = parse_recipe(recipe_text(gallery), [f"model.init={tmp_path / 'uniter' / 'final'}"])
    with pytest.raises(ArtifactError, match='no ViLT, which model.family = "vilt" needs'):
        run_training(other, RunOptions(tmp_path / "two", "cpu", progress=False))


def test_bf16_and_gradient_checkpointing(gallery: Path, tmp_path: Path) -> None:
    objectives = ("mrm", "vqa", *JUDGING)
    kinds = {
        "plain": [],
        "checkpointed": ["compute.gradient_checkpointing=true"],
        "bf16": ["compute.precision=bf16"],
    }
    losses = {}
    for name, overrides in kinds.items():
        _train(gallery, tmp_path / name, objectives, overrides)
        losses[name] = [line["loss"] for line in _lines(tmp_path / name, "train")]
    assert losses["checkpointed"] == pytest.approx(losses["plain"], rel=1e-5)
    assert losses["bf16"] == pytest.approx(losses["plain"], rel=0.02)
    assert losses["bf16"] != losses["plain"]


def test_regions_without_classes_train_what_needs_none(gallery: Path, tmp_path: Path) -> None:
    bare = write_gallery(tmp_path / "bare", {"train": 8}, classes=False)
    _train(bare, tmp_path / "features", ("mrm",), ["objectives.mrm.distribution=0", "optimisation.max_steps=1"])
    assert load_checkpoint(tmp_path / "features" / "final").config.heads == ("mrfr",)
    with pytest.raises(ArtifactError, match="no class probabilities, which learning masked classes needs"):
        _train(bare, tmp_path / "classes", ("mrm",), ["optimisation.max_steps=1"])


def test_pictures_without_regions_are_left_out_or_end_the_run(gallery: Path, tmp_path: Path) -> None:
    few = write_gallery(tmp_path / "few", {"train": 6})
    lines = (gallery / "train.jsonl").read_text().splitlines()
    (few / "train.jsonl").write_text("\n".join(lines[:8]))
    with pytest.raises(ArtifactError, match="2 of 8 records skipped"):
        _train(few, tmp_path / "run")
    shutil.rmtree(few / "regions")
    with pytest.raises(ArtifactError, match="expected a .tsv file or a folder with regions"):
        _train(few, tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (uniter_recipe_text(Path("x")), ["data.regions="], "data.regions: belongs to uniter, and there"),
        (recipe_text(Path("x")), ["data.regions=x/regions"], "data.regions: belongs to uniter"),
        (uniter_recipe_text(Path("x")), ["data.max_regions=0"], "max_regions: got 0, expected at least 1"),
        (uniter_recipe_text(Path("x"), "regions"), [], "objectives: uniter has mlm, .*; got regions"),
        (uniter_recipe_text(Path("x"), "itc"), [], "objectives: uniter has .*; got itc"),
        (uniter_recipe_text(Path("x"), "itm"), ["objectives.itm.words=0.5"], "itm.words: belongs to vilt"),
        (uniter_recipe_text(Path("x")), ["objectives.vqa.answer_words=0.5"], "answer_words: belongs to vilt"),
        (uniter_recipe_text(Path("x")), ["model.init=a", "model.grow_layers=1"], "grow_layers: belongs to vilt"),
        (uniter_recipe_text(Path("x")), ["model.init=a", "model.reset_positions=true"], "positions: belongs to vilt"),
        (uniter_recipe_text(Path("x"), "wpa"), [], "wpa: needs itm"),
        (uniter_recipe_text(Path("x"), "mrm"), ["objectives.mrm.probability=0"], "mrm.probability: got 0.0, expected"),
        (uniter_recipe_text(Path("x"), "mrm"), ["objectives.mrm.classes=-1"], "mrm.classes: got -1.0, expected"),
        (
            uniter_recipe_text(Path("x"), "mrm"),
            ["objectives.mrm.features=0", "objectives.mrm.distribution=0"],
            "features, classes, distribution: expected one above 0",
        ),
        (uniter_recipe_text(Path("x"), "entailment"), ["objectives.entailment.loss=l2"], "expected one of bce, ce"),
        (uniter_recipe_text(Path("x"), "reasoning"), ["objectives.reasoning.variant=two"], "expected one of paired-"),
        *(
            (recipe_text(Path("x")), [f"objectives.{name}.weight=1"], f"objectives: vilt has .*; got {name}, vqa")
            for name in ("entailment", "mrm", "reasoning", "referring")
        ),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(text: str, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_recipe(text, overrides)
