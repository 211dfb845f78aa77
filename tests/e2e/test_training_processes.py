"""Training in real processes: killed and resumed, and shared by two."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_pictures import dual_recipe_text, recipe_text, write_jsonl
from vlp_models.checkpoints import load_checkpoint
from vlp_models.training.run_state import saved_steps

TIMEOUT_S = 180
SUPPORT = Path(__file__).parents[1] / "support"
EVERYTHING = """
[objectives.mlm]
probability = 0.5
[objectives.itm]
negatives = "hard"
[objectives.wpa]
"""
DUAL = """
[objectives.regions]
[objectives.phrases]
"""
SIGLIP = ('family = "clip"', 'family = "siglip"'), ("[objectives.itc]", '[objectives.itc]\nloss = "sigmoid"')
QUEUE = (("[objectives.itc]", "[objectives.itc]\nqueue = 16"),)
BLIP = ('family = "clip"', 'family = "blip"\nshares_text = true'), ("[objectives.phrases]", "[objectives.lm]")
# --multi_gpu is accelerate's only launcher of several processes without MPI; on CPUs they talk by gloo.
TWO_PROCESSES = (
    *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"),
)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_jsonl(tmp_path_factory.mktemp("pictures"), {"train": 24, "val": 6})
    path = root / "recipe.toml"
    path.write_text(recipe_text(root) + EVERYTHING)
    return path


def _environment() -> dict[str, str]:
    # Free ports of the launcher's own choice; one thread, as the recipe has it.
    return os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def _finish(arguments: Sequence[str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], env=_environment(), timeout=TIMEOUT_S, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def _train_dual(recipe: Path, out_dir: Path, *more: str) -> list[str]:
    return ["-m", "vlp_cli", "train", str(recipe), "--device", "cpu", "--no-progress", "--out", str(out_dir), *more]


def _train(recipe: Path, out_dir: Path, *more: str) -> list[str]:
    overrides = ["optimisation.max_steps=100", "checkpoint.every=5", "model.dropout=0.1", "optimisation.ema_decay=0.9"]
    settings = [word for override in overrides for word in ("--set", override)]
    return ["-m", "vlp_cli", "train", str(recipe), "--device", "cpu", "--no-progress", "--out", str(out_dir),
            *settings, *more]  # fmt: skip


def test_a_killed_run_resumes_to_the_weights_of_an_unbroken_one(recipe: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    _finish(_train(recipe, whole))
    process = subprocess.Popen(
        [sys.executable, *_train(recipe, broken)], env=_environment(), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process.stderr as lines:
        assert any("step 20: saved" in line for line in lines)
        process.send_signal(signal.SIGKILL)
        process.wait(TIMEOUT_S)
    stopped_at = saved_steps(broken / "checkpoints")[-1]
    assert 20 <= stopped_at < 100
    assert not (broken / "final").exists()
    told = _finish(_train(recipe, broken, "--resume"))
    assert f"resumed at step {stopped_at}" in told
    expected, found = (load_file(folder / "final" / "model.safetensors") for folder in (whole, broken))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_two_processes_train_the_model_of_one_with_the_double_batch(recipe: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    # Each process drops its own, so that only without dropout the results are the same.
    same = ("--set", "optimisation.max_steps=6", "--set", "model.dropout=0.0")
    told = _finish([*TWO_PROCESSES, *_train(recipe, two, *same)])
    assert f"finished: {two / 'final'}" in told
    assert {path.name for path in (two / "checkpoints" / "step-6").glob("rng-*")} == {"rng-0.pt", "rng-1.pt"}
    assert load_checkpoint(two / "final").config.heads == ("vqa", "itm", "mlm")
    _finish(_train(recipe, one, *same, "--set", "optimisation.batch_size=8"))
    expected, found = (load_file(folder / "final" / "model.safetensors") for folder in (one, two))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.allclose(value, found[name], rtol=0, atol=1e-5), name


def test_a_queue_of_two_processes_is_the_queue_of_one(recipe: Path, tmp_path: Path) -> None:
    path = tmp_path / "queue.toml"
    path.write_text(dual_recipe_text(recipe.parent).replace(*QUEUE[0]) + DUAL)
    # Adam would make a step of its own out of the last bit of a gradient near 0.
    same = ("--set", "optimisation.max_steps=6", "--set", "optimisation.eps=1e-3")
    _finish([*TWO_PROCESSES, *_train_dual(path, tmp_path / "two", *same)])
    _finish(_train_dual(path, tmp_path / "one", *same, "--set", "optimisation.batch_size=8"))
    expected, found = (load_file(tmp_path / name / "final" / "model.safetensors") for name in ("one", "two"))
    for name, value in expected.items():
        assert torch.allclose(value, found[name], rtol=0, atol=1e-5), name


@pytest.mark.parametrize(
    "changes", [None, (), SIGLIP, QUEUE, BLIP], ids=["vilt", "clip", "siglip", "clip-queue", "blip"]
)
def test_two_processes_have_the_gradients_of_one_with_the_double_batch(
    recipe: Path, tmp_path: Path, changes: tuple[tuple[str, str], ...] | None
) -> None:
    text = recipe.read_text()
    if changes is not None:
        text = dual_recipe_text(recipe.parent) + DUAL
        for old, new in changes:
            text = text.replace(old, new)
    single, double = tmp_path / "single.toml", tmp_path / "double.toml"
    single.write_text(text)
    double.write_text(text.replace("batch_size = 4", "batch_size = 8"))
    script = str(SUPPORT / "write_gradients.py")
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    _finish([script, str(double), str(tmp_path), str(one)])
    _finish([*TWO_PROCESSES, script, str(single), str(tmp_path), str(two)])
    expected, found = load_file(one), load_file(two)
    assert (expected.pop("processes").item(), found.pop("processes").item()) == (1, 2)
    assert expected.keys() == found.keys()
    assert max(value.abs().max().item() for value in expected.values()) > 0.1
    for name, value in expected.items():
        # Word tables of a dual encoder have gradients of 30: their last bits are larger than 1e-5.
        tolerance = 1e-5 * max(1.0, value.abs().max().item() / 10)
        assert torch.allclose(value, found[name], rtol=0, atol=tolerance), name
