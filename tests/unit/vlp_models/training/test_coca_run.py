"""CoCa's objectives, and whole runs of it in this process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from blip_training_rig import DEC, ROWS, blip_batch, blip_model
from safetensors.torch import load_file
from tiny_pictures import recipe_text, write_jsonl, writing_recipe_text
from torch.nn import functional as F
from vlp_models.checkpoints import load_checkpoint
from vlp_models.families.coca import CocaModel
from vlp_models.families.coca_config import CocaConfig
from vlp_models.training.coca_losses import CocaLosses
from vlp_models.training.recipe_file import parse_recipe
from vlp_models.training.recipe_objectives import ItcRecipe, LmRecipe, ObjectivesRecipe, RegionsRecipe
from vlp_models.training.run import RunOptions, run_training
from vlp_models.training.trainer import TrainingOutcome
from vlp_spec.errors import ArtifactError, ConfigError

PAPER = ObjectivesRecipe(lm=LmRecipe(2.0), itc=ItcRecipe(), regions=RegionsRecipe())


def _model() -> CocaModel:
    parts = replace(blip_model(("caption",)).config, heads=("caption",))
    model = CocaModel(CocaConfig(parts, unimodal_layers=1, num_queries=3))
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:  # norms and temperature stay as they are
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def test_captions_are_said_word_by_word() -> None:
    model, batch = _model(), blip_batch()
    found = CocaLosses(model, PAPER)({"pairs": batch})
    total, count = 0.0, 0
    for row in range(ROWS):
        words = batch["input_ids"][row][batch["text_mask"][row] == 1][1:]
        ids = torch.cat([torch.tensor([DEC]), words[:-1]])[None]
        logs = model(batch["pixels"][row : row + 1], ids)[0].log_softmax(-1)
        total -= sum(logs[place, word].item() for place, word in enumerate(words))
        count += len(words)
    assert found["lm"].item() == pytest.approx(total / count, rel=1e-4)
    torch.testing.assert_close(found["loss"].detach(), 2 * found["lm"] + found["itc"] + found["regions"])


def test_pairs_are_contrasted_by_both_embeddings() -> None:
    model, batch = _model(), blip_batch()
    found = CocaLosses(model, PAPER)({"pairs": batch})
    image = F.normalize(model.encode_image(batch["pixels"]).embeds, dim=-1)
    text = F.normalize(model.text_embeds(batch["input_ids"], batch["text_mask"]), dim=-1)
    logits, total = image @ text.T / 0.07, 0.0
    for row, kept in enumerate([[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]):
        for values in (logits[row], logits[:, row]):
            total += (values[kept].logsumexp(0) - values[row]).item() / (2 * ROWS)
    assert found["itc"].item() == pytest.approx(total, rel=1e-4)


def test_every_objective_reaches_its_weights() -> None:
    losses = CocaLosses(_model(), PAPER).train()
    losses({"pairs": blip_batch()})["loss"].backward()
    still = [name for name, value in losses.trainable().items() if value.grad is None or not value.grad.abs().max()]
    assert still == []


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("pictures"), {"train": 24, "val": 6})


def _train(root: Path, out_dir: Path, overrides: Sequence[str] = (), *, resume: bool = False) -> TrainingOutcome:
    deep = ("model.towers.text_layers=2", "objectives.itc.weight=1")
    recipe = parse_recipe(writing_recipe_text(root, "coca"), [*deep, *overrides])
    return run_training(recipe, RunOptions(out_dir, "cpu", resume, progress=False))


def _lines(out_dir: Path, group: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out_dir / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["group"] == group]


def test_a_run_learns_and_leaves_a_checkpoint(pictures: Path, tmp_path: Path) -> None:
    learning = ("optimisation.max_steps=120", "optimisation.batch_size=12", "optimisation.lr=0.02")
    _train(pictures, tmp_path, [*learning, "evaluation.every=120", "objectives.regions.weight=1"])
    first, last = _lines(tmp_path, "train")[0], _lines(tmp_path, "train")[-1]
    assert last["lm"] < 0.3 * first["lm"]
    assert last["itc"] < 0.7 * first["itc"]
    assert {"lm", "itc", "itc_accuracy", "region_recall"} <= _lines(tmp_path, "eval")[-1].keys()
    checkpoint = load_checkpoint(tmp_path / "final")
    assert isinstance(checkpoint.model, CocaModel)
    assert (checkpoint.config.heads, checkpoint.config.max_text_len) == (("caption", "embeddings"), 12)
    assert checkpoint.text == {"type": "bert", "max_length": 12}
    assert checkpoint.image["height"] == 16


def test_a_second_stage_starts_from_the_first(pictures: Path, tmp_path: Path) -> None:
    _train(pictures, tmp_path / "first", ["optimisation.max_steps=2"])
    init = f"model.init={tmp_path / 'first' / 'final'}"
    _train(pictures, tmp_path / "second", [init, "optimisation.lr=1e-12", "optimisation.max_steps=1"])
    first, second = (load_file(tmp_path / name / "final" / "model.safetensors") for name in ("first", "second"))
    assert first.keys() == second.keys()
    assert all(torch.allclose(value, second[name]) for name, value in first.items())
    with pytest.raises(ArtifactError, match="sees 16 pixels"):
        _train(pictures, tmp_path / "other", [init, "model.towers.image_size=24"])
    blip = parse_recipe(writing_recipe_text(pictures), [init])
    with pytest.raises(ArtifactError, match="neither BLIP nor ViLT"):
        run_training(blip, RunOptions(tmp_path / "blip", "cpu", progress=False))


def test_a_vilt_is_where_a_coca_may_start(pictures: Path, tmp_path: Path) -> None:
    vilt = parse_recipe(
        recipe_text(pictures), ["model.image_size=16", "model.num_layers=1", "optimisation.max_steps=1"]
    )
    run_training(vilt, RunOptions(tmp_path / "vilt", "cpu", progress=False))
    _train(pictures, tmp_path / "coca", [f"model.init={tmp_path / 'vilt' / 'final'}", "optimisation.lr=1e-12"])
    first, second = (load_checkpoint(tmp_path / name / "final") for name in ("vilt", "coca"))
    torch.testing.assert_close(
        second.model.state_dict()["vision_model.encoder.layers.0.mlp.fc1.weight"],
        first.model.state_dict()["transformer.blocks.0.mlp.fc1.weight"],
    )
    assert second.config.parts.pixel_mean == (0.5, 0.5, 0.5)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["objectives.itm.weight=1"], "coca has lm, itc, regions; got itm, lm"),
        (["objectives.lm=", "objectives.regions.weight=1"], "coca needs one of lm, itc"),
        (["objectives.lm.prompt='a '"], "objectives.lm.prompt: belongs to blip"),
        (["model.towers.text_layers=1"], "unimodal_layers: got 0"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(pictures: Path, tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_training(
            parse_recipe(writing_recipe_text(pictures, "coca"), overrides), RunOptions(tmp_path, "cpu", progress=False)
        )
