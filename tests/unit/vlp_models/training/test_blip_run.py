"""Whole runs of BLIP in this process."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_pictures import recipe_text, write_jsonl, writing_recipe_text
from tokenizers import Tokenizer
from vlp_models.checkpoints import load_checkpoint, save_checkpoint
from vlp_models.checkpoints.blip_weights import WORD_MATRIX, WORD_TABLE
from vlp_models.families.blip import BlipModel
from vlp_models.training.blip_losses import BlipLosses
from vlp_models.training.dual_streams import build_pair_stream
from vlp_models.training.family import family_of
from vlp_models.training.recipe_file import parse_recipe
from vlp_models.training.recipe_objectives import LmRecipe, ObjectivesRecipe
from vlp_models.training.run import RunOptions, run_training
from vlp_models.training.trainer import TrainingOutcome
from vlp_models.training.training_data import BatchPlace, choose_texts
from vlp_models.training.writing_validation import WritingValidation, write_greedily
from vlp_spec.errors import ArtifactError, ConfigError

EVERYTHING = (
    "model.shares_text=true",
    "objectives.lm.smoothing=0.1",
    "objectives.itc.queue=16",
    "objectives.itc.momentum=0.5",
    "objectives.itm.negatives=hard",
    "objectives.itm.every=2",
    "objectives.regions.weight=1",
    "optimisation.grad_accumulation=2",
    "optimisation.ema_decay=0.9",
    "evaluation.every=3",
    "optimisation.max_steps=6",
)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("pictures"), {"train": 24, "val": 6})


def _train(root: Path, out_dir: Path, overrides: Sequence[str] = (), *, resume: bool = False) -> TrainingOutcome:
    recipe = parse_recipe(writing_recipe_text(root), overrides)
    return run_training(recipe, RunOptions(out_dir, "cpu", resume, progress=False))


def _lines(out_dir: Path, group: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out_dir / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["group"] == group]


def test_a_run_learns_to_say_the_colour(pictures: Path, tmp_path: Path) -> None:
    learning = ("optimisation.max_steps=160", "optimisation.batch_size=12", "optimisation.lr=0.02")
    wide = ("model.towers.image_width=16", "model.towers.text_width=16", "objectives.regions.weight=1")
    _train(pictures, tmp_path, [*learning, *wide, "evaluation.every=160", "objectives.lm.prompt='see: '"])
    losses = [line["loss"] for line in _lines(tmp_path, "train")]
    assert losses[-1] < 0.2 * losses[0]
    checkpoint = load_checkpoint(tmp_path / "final")
    model = checkpoint.model
    assert isinstance(model, BlipModel)
    assert (model.config.prompt, model.config.max_text_len, model.config.heads) == ("see: ", 12, ("caption",))
    tokenizer = Tokenizer.from_str(checkpoint.tokenizer)
    prompt = tokenizer.encode("see: ", add_special_tokens=False).ids
    losses = BlipLosses(model, ObjectivesRecipe(lm=LmRecipe()), tuple(prompt))
    pixels = torch.tensor([[220, 30, 30], [30, 200, 40], [40, 60, 230]], dtype=torch.uint8)
    written = write_greedily(losses, pixels[:, None, None].expand(-1, 16, 16, -1))
    said = tokenizer.decode_batch(written)
    assert [colour in text for colour, text in zip(("red", "green", "blue"), said, strict=True)] == [True] * 3


def test_a_stopped_run_resumes_to_the_same_weights(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _train(pictures, tmp_path / "whole", EVERYTHING)
    with monkeypatch.context() as patch:
        original = WritingValidation.__call__

        def stop_here(validation: WritingValidation) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return original(validation)

        patch.setattr(WritingValidation, "__call__", stop_here)
        assert not _train(pictures, tmp_path / "broken", EVERYTHING).is_finished
    assert _train(pictures, tmp_path / "broken", EVERYTHING, resume=True).is_finished
    whole, broken = (load_file(tmp_path / name / "final" / "model.safetensors") for name in ("whole", "broken"))
    assert whole.keys() == broken.keys()
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    keys = ("loss", "lm", "itc", "itm", "regions")
    mine, theirs = (_lines(tmp_path / name, "train") for name in ("whole", "broken"))
    assert [[line.get(key) for key in keys] for line in mine] == [[line.get(key) for key in keys] for line in theirs]
    assert {"lm_accuracy", "itm_accuracy"} <= _lines(tmp_path / "whole", "eval")[-1].keys()
    assert load_checkpoint(tmp_path / "whole" / "final").config.heads == ("caption", "match")


def test_matching_comes_in_every_nth_step(pictures: Path, tmp_path: Path) -> None:
    _train(pictures, tmp_path, ["objectives.lm=", "objectives.itc.weight=1", "objectives.itm.every=2"])
    assert ["itm" in line for line in _lines(tmp_path, "train")] == [True, False, True, False]


def test_a_vilt_is_where_a_blip_may_start(pictures: Path, tmp_path: Path) -> None:
    vilt = parse_recipe(
        recipe_text(pictures), ["model.image_size=16", "model.num_layers=1", "optimisation.max_steps=1"]
    )
    run_training(vilt, RunOptions(tmp_path / "vilt", "cpu", progress=False))
    init = f"model.init={tmp_path / 'vilt' / 'final'}"
    _train(pictures, tmp_path / "blip", [init, "optimisation.lr=1e-12"])
    first, second = (load_checkpoint(tmp_path / name / "final") for name in ("vilt", "blip"))
    torch.testing.assert_close(
        second.model.state_dict()["vision_model.encoder.layers.0.mlp.fc1.weight"],
        first.model.state_dict()["transformer.blocks.0.mlp.fc1.weight"],
    )
    dual = parse_recipe(writing_recipe_text(pictures, "clip").replace("objectives.lm", "objectives.itc"))
    run_training(dual, RunOptions(tmp_path / "clip", "cpu", progress=False))
    with pytest.raises(ArtifactError, match="neither BLIP nor ViLT"):
        _train(pictures, tmp_path / "other", [f"model.init={tmp_path / 'clip' / 'final'}"])


def test_a_word_head_of_its_own_stays_so(pictures: Path, tmp_path: Path) -> None:
    _train(pictures, tmp_path / "first", ["optimisation.max_steps=1"])
    tied = load_checkpoint(tmp_path / "first" / "final")
    state = tied.blip.state_dict()
    apart = BlipModel(replace(tied.blip.config, tied_words=False))
    apart.load_state_dict(state | {WORD_MATRIX: -state[WORD_TABLE]})
    save_checkpoint(tmp_path / "apart", apart, tokenizer=tied.tokenizer, image=tied.image)
    _train(pictures, tmp_path / "second", [f"model.init={tmp_path / 'apart'}", "optimisation.max_steps=1"])
    trained = load_checkpoint(tmp_path / "second" / "final").blip
    assert not trained.config.tied_words
    table, matrix = (trained.state_dict()[name] for name in (WORD_TABLE, WORD_MATRIX))
    for now, before in ((table, state[WORD_TABLE]), (matrix, -state[WORD_TABLE])):
        assert 0 < (now - before).abs().max() < 0.5 * before.abs().max()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objectives.vqa.weight=1"], "blip has lm, itc, itm, regions; got lm, vqa"),
        (["objectives.lm=", "objectives.regions.weight=1"], "blip needs one of lm, itc, itm"),
        (["objectives.lm.smoothing=1.0"], "smoothing"),
        (["objectives.itc.loss=sigmoid"], "blip is served as it is trained, by softmax"),
        (["objectives.itm.words=1"], "objectives.itm.words: belongs to vilt"),
        (["model.family=clip"], "clip has itc"),
        (["model.family=clip", "model.shares_text=true"], "shares_text: belongs to blip"),
        (["model.towers="], "towers"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_recipe(writing_recipe_text(Path("x")), overrides)


def test_pictures_are_moved_while_training_alone(pictures: Path) -> None:
    recipe = parse_recipe(writing_recipe_text(pictures), ["image.moved_pixels=3", "data.longest_text=6"])
    family = family_of(recipe)
    split, _ = family.load_splits()
    texts = choose_texts(recipe, split.records)
    [moved] = family.build_streams(split, texts, BatchPlace())
    still = build_pair_stream(recipe, split, texts, BatchPlace(), is_training=False)
    first, second = moved.batch(0), still.batch(0)
    assert np.array_equal(first["input_ids"], second["input_ids"])
    assert not np.array_equal(first["pixels"], second["pixels"])
    assert first["input_ids"].shape[1] == 5  # "a red picture" is short enough, "this is a picture, ..." is not
    with pytest.raises(ConfigError, match="moved_pixels: belongs to clip"):
        parse_recipe(recipe_text(pictures), ["image.moved_pixels=3"])


def test_data_without_captions_is_named(pictures: Path, tmp_path: Path) -> None:
    bare = write_jsonl(tmp_path / "bare", {"train": 8})
    lines = [json.loads(line) for line in (bare / "train.jsonl").read_text().splitlines()]
    (bare / "train.jsonl").write_text("\n".join(json.dumps(line | {"captions": []}) for line in lines))
    with pytest.raises(ArtifactError, match="no captions"):
        _train(bare, tmp_path / "a")
