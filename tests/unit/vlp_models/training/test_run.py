"""Whole runs in this process, on a model of width 8."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_pictures import recipe_text, write_jsonl, write_shards
from vlp_models.checkpoints import load_checkpoint
from vlp_models.training import machine, run
from vlp_models.training.recipe import ComputeRecipe
from vlp_models.training.recipe_file import parse_recipe
from vlp_models.training.run import RunOptions, run_training
from vlp_models.training.run_state import saved_steps
from vlp_models.training.trainer import Trainer, TrainingOutcome
from vlp_models.training.vilt_validation import ViltValidation
from vlp_spec.errors import ArtifactError, ConfigError, InferenceError

LEARNING = (
    "model.hidden_size=32",
    "objectives.vqa.loss=ce",
    "optimisation.lr=0.003",
    "optimisation.batch_size=12",
    "optimisation.max_steps=100",
    "evaluation.every=100",
)
EVERYTHING = (
    "objectives.mlm.probability=0.5",
    "objectives.itm.every=2",
    "objectives.itm.negatives=hard",
    "objectives.wpa.weight=0.1",
    "optimisation.grad_accumulation=2",
    "optimisation.ema_decay=0.9",
    "model.dropout=0.2",
    "evaluation.every=3",
    "optimisation.max_steps=6",
)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("pictures"), {"train": 24, "val": 6})


def _train(
    root: Path, out_dir: Path, overrides: Sequence[str] = (), *, resume: bool = False, progress: bool = False
) -> TrainingOutcome:
    recipe = parse_recipe(recipe_text(root), overrides)
    return run_training(recipe, RunOptions(out_dir, "cpu", resume, progress))


def _lines(out_dir: Path, group: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out_dir / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["group"] == group]


def _weights(out_dir: Path) -> dict[str, torch.Tensor]:
    return load_file(out_dir / "final" / "model.safetensors")


def test_a_run_learns_and_leaves_a_checkpoint_that_answers(pictures: Path, tmp_path: Path) -> None:
    outcome = _train(pictures, tmp_path, LEARNING)
    assert (outcome.steps, outcome.is_finished) == (100, True)
    losses = [line["loss"] for line in _lines(tmp_path, "train")]
    assert losses[-1] < 0.6 * losses[0]
    evaluated = _lines(tmp_path, "eval")[-1]
    assert evaluated["colour"] == 1.0
    checkpoint = load_checkpoint(tmp_path / "final", task="vqa")
    assert set(checkpoint.labels or ()) == {"red", "green", "blue", "yes", "no"}
    assert checkpoint.image["patch_size"] == 8
    assert list((tmp_path / "tensorboard").iterdir())


def test_shards_train_like_lines(pictures: Path, tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "shards", {"train": 24, "val": 6})
    _train(pictures, tmp_path / "a")
    _train(shards, tmp_path / "b")
    assert [line["loss"] for line in _lines(tmp_path / "a", "train")] == [
        line["loss"] for line in _lines(tmp_path / "b", "train")
    ]


def test_a_stopped_run_resumes_to_the_same_weights(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _train(pictures, tmp_path / "whole", EVERYTHING)
    with monkeypatch.context() as patch:
        original = ViltValidation.__call__

        def stop_here(validation: ViltValidation) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return original(validation)

        patch.setattr(ViltValidation, "__call__", stop_here)
        outcome = _train(pictures, tmp_path / "broken", EVERYTHING)
    assert (outcome.steps, outcome.is_finished) == (3, False)
    assert not (tmp_path / "broken" / "final").exists()
    assert saved_steps(tmp_path / "broken" / "checkpoints") == [3]
    assert _train(pictures, tmp_path / "broken", EVERYTHING, resume=True).is_finished
    whole, broken = _weights(tmp_path / "whole"), _weights(tmp_path / "broken")
    assert whole.keys() == broken.keys()
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    assert [line["step"] for line in _lines(tmp_path / "broken", "train")] == [1, 2, 3, 4, 5, 6]
    assert "not the one" not in caplog.text


def test_a_half_written_checkpoint_is_not_resumed_from(pictures: Path, tmp_path: Path) -> None:
    _train(pictures, tmp_path, ["optimisation.max_steps=2"])
    unfinished = tmp_path / "checkpoints" / ".step-3.unfinished"
    unfinished.mkdir()
    (unfinished / "state.json").write_text("{}")
    (tmp_path / "checkpoints" / "step-9").mkdir()
    log = tmp_path / "log.jsonl"
    log.write_text(log.read_text() + '{"step": 3, "gro')
    outcome = _train(pictures, tmp_path, ["optimisation.max_steps=4"], resume=True)
    assert outcome.steps == 4
    assert [line["step"] for line in _lines(tmp_path, "train")] == [1, 2, 3, 4]


def test_a_changed_recipe_is_told_when_resuming(
    pictures: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _train(pictures, tmp_path, ["optimisation.max_steps=1"])
    _train(pictures, tmp_path, ["optimisation.max_steps=2"], resume=True)
    assert "not the one that this run was started with" in caplog.text


def test_a_folder_with_a_run_is_not_overwritten(pictures: Path, tmp_path: Path) -> None:
    _train(pictures, tmp_path, ["optimisation.max_steps=1"])
    with pytest.raises(ConfigError, match="holds a run"):
        _train(pictures, tmp_path, ["optimisation.max_steps=1"])


def test_only_the_newest_checkpoints_stay(pictures: Path, tmp_path: Path) -> None:
    _train(pictures, tmp_path, ["optimisation.max_steps=7", "checkpoint.every=2", "checkpoint.keep=2"])
    assert saved_steps(tmp_path / "checkpoints") == [6, 7]


def test_fine_tuning_starts_from_a_pretrained_checkpoint(pictures: Path, tmp_path: Path) -> None:
    pretrain = ["objectives.vqa=", "objectives.mlm.weight=1", "objectives.itm.weight=1", "evaluation.every=4"]
    _train(pictures, tmp_path / "pretrained", pretrain)
    assert _lines(tmp_path / "pretrained", "eval")[-1].keys() >= {"mlm", "itm", "mlm_accuracy"}
    assert load_checkpoint(tmp_path / "pretrained" / "final").config.heads == ("itm", "mlm")
    frozen = ["text_embeddings.*"]
    fine = [f"model.init={tmp_path / 'pretrained' / 'final'}", f"freeze={json.dumps(frozen)}"]
    _train(pictures, tmp_path / "tuned", [*fine, "text.max_length=9"])
    before, after = load_checkpoint(tmp_path / "pretrained" / "final"), load_checkpoint(tmp_path / "tuned" / "final")
    assert after.config.heads == ("vqa",)
    assert after.config.max_text_len == 12  # the checkpoint's, not the recipe's
    assert before.tokenizer == after.tokenizer
    old, new = before.model.state_dict(), after.model.state_dict()
    assert torch.equal(old["text_embeddings.word_embeddings.weight"], new["text_embeddings.word_embeddings.weight"])
    assert not torch.equal(old["pooler.dense.weight"], new["pooler.dense.weight"])


def test_a_checkpoint_with_other_patches_is_refused_at_once(pictures: Path, tmp_path: Path) -> None:
    _train(pictures, tmp_path / "first", ["optimisation.max_steps=1"])
    overrides = [f"model.init={tmp_path / 'first' / 'final'}", "image.patch_size=4"]
    with pytest.raises(ArtifactError, match="has patches of 8 pixels"):
        _train(pictures, tmp_path / "second", overrides)


def test_a_question_only_model_never_sees_a_picture(pictures: Path, tmp_path: Path) -> None:
    _train(pictures, tmp_path, ["image.blind=true", *LEARNING])
    assert _lines(tmp_path, "eval")[-1]["colour"] == pytest.approx(1 / 3)  # three colours, one question


def test_divergence_ends_the_run_and_keeps_the_last_checkpoint(pictures: Path, tmp_path: Path) -> None:
    overrides = ["optimisation.lr=1e38", "optimisation.max_steps=9", "checkpoint.every=1", "checkpoint.keep=9"]
    with pytest.raises(InferenceError, match=r"step \d+: loss .* not finite.*optimisation.lr"):
        _train(pictures, tmp_path, overrides)
    assert saved_steps(tmp_path / "checkpoints")[0] == 1
    assert not (tmp_path / "final").exists()


def test_the_clock_ends_a_run(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(10_000))
    monkeypatch.setattr(Trainer, "elapsed_s", property(lambda trainer: next(times)))
    outcome = _train(pictures, tmp_path, ["optimisation.max_steps=", "optimisation.max_minutes=0.1"])
    assert outcome.is_finished
    progress = [line["progress"] for line in _lines(tmp_path, "train")]
    assert progress == pytest.approx([step / 6 for step in range(6)], abs=1e-5)


def test_bf16_gradient_checkpointing_and_the_disk_cache(pictures: Path, tmp_path: Path) -> None:
    plain = _train(pictures, tmp_path / "plain")
    overrides = ["compute.gradient_checkpointing=true", "data.cache=disk", f"data.cache_dir={tmp_path / 'cache'}"]
    _train(pictures, tmp_path / "checkpointed", overrides)
    _train(pictures, tmp_path / "bf16", ["compute.precision=bf16"])
    losses = {
        name: [line["loss"] for line in _lines(tmp_path / name, "train")] for name in ("plain", "checkpointed", "bf16")
    }
    assert plain.steps == 4
    assert losses["checkpointed"] == pytest.approx(losses["plain"], rel=1e-5)
    assert losses["bf16"] == pytest.approx(losses["plain"], rel=0.02)
    assert losses["bf16"] != losses["plain"]


def test_the_process_is_left_as_it_was(pictures: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    _train(pictures, tmp_path, ["optimisation.max_steps=1"])
    assert torch.get_num_threads() == threads
    assert torch.tensor([1e-40]).mul(1.0).item() > 0  # small numbers are kept again


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "cuda:x"])
def test_a_device_that_is_not_there_is_refused(pictures: Path, tmp_path: Path, device: str) -> None:
    recipe = parse_recipe(recipe_text(pictures))
    with pytest.raises(ConfigError, match="device"):
        run.run_training(recipe, RunOptions(tmp_path, device))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["text.tokenizer=missing.json"], "missing.json"),
        (["data.train_split=nothing"], "no split 'nothing'"),
        (["objectives.vqa.labels=missing.json"], "missing.json"),
    ],
)
def test_data_that_lacks_is_named(pictures: Path, tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        _train(pictures, tmp_path, overrides)


def test_the_bar_shows_losses(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _train(pictures, tmp_path, ["evaluation.every=2"], progress=True)
    shown = capsys.readouterr().err
    assert "4/4" in shown
    assert "samples_per_s" in shown
    assert "eval" in shown


def test_processes_that_did_not_start_are_noticed(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    _train(pictures, tmp_path, ["optimisation.max_steps=1"])
    assert "--multi_gpu" in caplog.text


def test_a_chosen_gpu_is_told_to_accelerate_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []

    def build(device: str, precision: str) -> None:
        seen.append(os.environ.get("ACCELERATE_TORCH_DEVICE"))
        raise RuntimeError("no GPU here")

    monkeypatch.setattr(machine, "_build", build)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for before, after in ((None, None), ("cuda:0", "cuda:0")):
        if before:
            monkeypatch.setenv("ACCELERATE_TORCH_DEVICE", before)
        with pytest.raises(RuntimeError), machine.training_machine("cuda:1", ComputeRecipe()):
            pass
        assert os.environ.get("ACCELERATE_TORCH_DEVICE") == after
    assert seen == ["cuda:1", "cuda:1"]
