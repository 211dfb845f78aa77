"""Whole runs of dual encoders in this process."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_pictures import dual_recipe_text, recipe_text, write_jsonl
from tokenizers import Tokenizer
from vlp_models.checkpoints import load_checkpoint
from vlp_models.families.dual_encoder import DualEncoder
from vlp_models.training.dual_validation import DualValidation
from vlp_models.training.family import family_of
from vlp_models.training.recipe_file import parse_recipe
from vlp_models.training.run import RunOptions, run_training
from vlp_models.training.trainer import TrainingOutcome
from vlp_models.training.training_data import BatchPlace, choose_texts, load_splits
from vlp_spec.errors import ArtifactError, ConfigError

EVERYTHING = (
    "objectives.itc.queue=16",
    "objectives.itc.momentum=0.5",
    "objectives.regions.weight=1",
    "objectives.phrases.per_picture=2",
    "optimisation.grad_accumulation=2",
    "optimisation.ema_decay=0.9",
    "evaluation.every=3",
    "optimisation.max_steps=6",
)
SIGLIP = ("model.family=siglip", "objectives.itc.loss=sigmoid")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("pictures"), {"train": 24, "val": 6})


def _train(root: Path, out_dir: Path, overrides: Sequence[str] = (), *, resume: bool = False) -> TrainingOutcome:
    recipe = parse_recipe(dual_recipe_text(root), overrides)
    return run_training(recipe, RunOptions(out_dir, "cpu", resume, progress=False))


def _lines(out_dir: Path, group: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out_dir / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["group"] == group]


@pytest.mark.parametrize("more", [(), SIGLIP])
def test_a_run_learns_and_leaves_a_checkpoint(pictures: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    learning = ["optimisation.max_steps=60", "optimisation.batch_size=12", "optimisation.lr=0.02", *more]
    _train(pictures, tmp_path, [*learning, "evaluation.every=60"])
    losses = [line["loss"] for line in _lines(tmp_path, "train")]
    assert losses[-1] < 0.6 * losses[0]
    # Two pictures of each of three colours: a caption's own picture is the first or the second of its colour.
    assert _lines(tmp_path, "eval")[-1]["image_r5"] >= 0.8
    checkpoint = load_checkpoint(tmp_path / "final")
    assert isinstance(checkpoint.model, DualEncoder)
    assert checkpoint.config.max_text_len == 12
    assert (checkpoint.image["height"], checkpoint.image["shortest_edge"]) == (16, 0)


def test_a_stopped_run_resumes_to_the_same_weights(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _train(pictures, tmp_path / "whole", EVERYTHING)
    with monkeypatch.context() as patch:
        original = DualValidation.__call__

        def stop_here(validation: DualValidation) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return original(validation)

        patch.setattr(DualValidation, "__call__", stop_here)
        assert not _train(pictures, tmp_path / "broken", EVERYTHING).is_finished
    assert _train(pictures, tmp_path / "broken", EVERYTHING, resume=True).is_finished
    whole, broken = (load_file(tmp_path / name / "final" / "model.safetensors") for name in ("whole", "broken"))
    assert whole.keys() == broken.keys()
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    keys = ("loss", "itc", "regions", "phrases")
    for mine, theirs in zip(_lines(tmp_path / "whole", "train"), _lines(tmp_path / "broken", "train"), strict=True):
        assert [mine[key] for key in keys] == [theirs[key] for key in keys]


def test_a_second_stage_starts_from_the_first(pictures: Path, tmp_path: Path) -> None:
    _train(pictures, tmp_path / "first", ["objectives.itc=", "objectives.regions.weight=1"])
    init = f"model.init={tmp_path / 'first' / 'final'}"
    _train(pictures, tmp_path / "second", [init, "optimisation.lr=1e-12"])
    first, second = (load_checkpoint(tmp_path / name / "final") for name in ("first", "second"))
    assert first.tokenizer == second.tokenizer
    for mine, theirs in zip(first.model.parameters(), second.model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    with pytest.raises(ArtifactError, match="sees 16 pixels"):
        _train(pictures, tmp_path / "other", [init, "model.towers.image_size=24"])
    with pytest.raises(ArtifactError, match="no siglip model"):
        _train(pictures, tmp_path / "other", [init, *SIGLIP])
    with pytest.raises(ArtifactError, match="no ViLT"):
        run_training(parse_recipe(recipe_text(pictures), [init]), RunOptions(tmp_path / "v", "cpu", progress=False))


@pytest.mark.parametrize("text_of", [recipe_text, dual_recipe_text])
def test_regions_say_where_they_lie_on_wish(pictures: Path, text_of: Callable[[Path], str]) -> None:
    said = []
    for places in ("false", "true"):
        recipe = parse_recipe(text_of(pictures), ["objectives.regions.weight=1", f"objectives.regions.places={places}"])
        family = family_of(recipe)
        train, _ = load_splits(recipe, family.preparation)
        texts = choose_texts(recipe, train.records)
        batch = family.build_streams(train, texts, BatchPlace())[-1].batch(0)
        words = batch["region_words"]
        said.append(words[words[:, 0] == 0, 1].tolist())
    tokenizer = Tokenizer.from_str(texts.tokenizer_json)
    assert said[1] == said[0] + tokenizer.encode("top left", add_special_tokens=False).ids


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objectives.vqa.weight=1"], "clip has itc, regions, phrases; got itc, vqa"),
        (["model.family=siglip"], "siglip is served as it is trained, by sigmoid"),
        (["objectives.itc.loss=sigmoid"], "clip is served as it is trained, by softmax"),
        (["objectives.itc.loss=sigmoid", "objectives.itc.queue=8"], "queue"),
        (["model.init=x", "model.grow_layers=1"], "grow_layers: belongs to vilt"),
        (["objectives.itc.momentum=1.0"], "momentum"),
        (["objectives.itc.alpha=2"], "alpha"),
        (["objectives.phrases.per_picture=0"], "per_picture"),
        (["model.towers="], "towers"),
        (["model.family=vilt"], "towers"),
        (["model.towers.patch_size=5"], "multiple of patch_size"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_recipe(dual_recipe_text(Path("x")), overrides)


def test_data_that_lacks_is_named(pictures: Path, tmp_path: Path) -> None:
    bare = write_jsonl(tmp_path / "bare", {"train": 8})
    lines = [json.loads(line) for line in (bare / "train.jsonl").read_text().splitlines()]
    (bare / "train.jsonl").write_text("\n".join(json.dumps(line | {"regions": []}) for line in lines[:1] + lines[2:]))
    with pytest.raises(ArtifactError, match="no regions"):
        _train(bare, tmp_path / "a", ["objectives.regions.weight=1"])
    lines[0]["regions"] = []
    (bare / "train.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    with pytest.raises(ArtifactError, match="train-0 has no regions"):
        _train(bare, tmp_path / "b", ["objectives.phrases.weight=1"])
    (bare / "train.jsonl").write_text("\n".join(json.dumps(line | {"captions": []}) for line in lines))
    with pytest.raises(ArtifactError, match="no captions"):
        _train(bare, tmp_path / "c")
