"""Two micro-batches of b rows give the step of one batch of 2 b rows, word counts included."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_pictures import recipe_text
from torch import Tensor
from vlp_models.data.masking import IGNORED
from vlp_models.data.streams import Arrays
from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig
from vlp_models.training.machine import training_machine
from vlp_models.training.recipe_file import parse_recipe
from vlp_models.training.trainer import Trainer
from vlp_models.training.vilt_losses import ViltLosses

ROWS, WORDS = 8, 5
OBJECTIVES = ("objectives.mlm.weight=1", "objectives.itm.weight=1", "objectives.wpa.weight=0.1")


def _captions() -> Arrays:
    """Each row hides one or two words: 6 in each half of the rows."""
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 20, (ROWS, WORDS)).astype(np.int32)
    targets = np.full((ROWS, WORDS), IGNORED, dtype=np.int64)
    for row in range(ROWS):
        hidden = slice(1, 2 + row % 2)
        targets[row, hidden] = ids[row, hidden]
    return {
        "patches": rng.integers(0, 256, (ROWS, 4, 12), dtype=np.uint8),
        "grid": np.array([[2, 2], [1, 2]] * (ROWS // 2), dtype=np.int32),
        "input_ids": ids,
        "text_mask": np.ones((ROWS, WORDS), dtype=np.int32),
        "mlm_ids": np.where(targets == IGNORED, ids, 4).astype(np.int32),
        "mlm_targets": targets,
        "itm_patches": rng.integers(0, 256, (ROWS, 4, 12), dtype=np.uint8),
        "itm_grid": np.array([[2, 2]] * ROWS, dtype=np.int32),
        "itm_ids": ids,
        "itm_mask": np.ones((ROWS, WORDS), dtype=np.int32),
        "itm_labels": np.array([0, 1, 1, 0, 1, 1, 0, 0]),
    }


def _questions() -> Arrays:
    rng = np.random.default_rng(1)
    shared = {name: _captions()[name] for name in ("patches", "grid", "input_ids", "text_mask")}
    return shared | {"targets": rng.random((ROWS, 3)).astype(np.float32)}


@dataclass(frozen=True)
class _Slices:
    """The arrays cut into batches of `size` rows, each with the word scale that CaptionStream gives it."""

    name: str
    arrays: Arrays
    size: int

    def batch(self, number: int) -> Arrays:
        cut = {name: array[number * self.size : (number + 1) * self.size] for name, array in self.arrays.items()}
        if "mlm_targets" in cut:
            cut["mlm_scale"] = np.float32(1 / (cut["mlm_targets"] != IGNORED).sum())
        return cut

    @property
    def batches_per_epoch(self) -> int:
        return ROWS // self.size


def _step(tmp_path: Path, micro_batches: int) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Gradients and figures of one step over all the rows."""
    recipe = parse_recipe(recipe_text(tmp_path), [*OBJECTIVES, f"optimisation.grad_accumulation={micro_batches}"])
    torch.manual_seed(0)
    model = ViltModel(ViltConfig(8, 2, 2, 2, 4, 20, 8, ("vqa", "itm", "mlm"), num_labels=3, dropout=0.0))
    model.init_weights()
    size = ROWS // micro_batches
    streams = [_Slices("captions", _captions(), size), _Slices("questions", _questions(), size)]
    with training_machine("cpu", recipe.compute) as accelerator:
        losses = ViltLosses(model, recipe.objectives)
        trainer = Trainer(recipe, losses, streams, accelerator=accelerator, run_dir=tmp_path)
        figures = trainer.accumulate_gradients()
    gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    return gradients, {name: float(value) for name, value in figures.items()}


@pytest.mark.parametrize("micro_batches", [2, 4])
def test_micro_batches_give_the_gradients_of_the_whole_batch(tmp_path: Path, micro_batches: int) -> None:
    expected, expected_figures = _step(tmp_path, 1)
    found, figures = _step(tmp_path, micro_batches)
    assert figures.keys() >= {"loss", "mlm", "itm", "wpa", "vqa"}
    assert figures == pytest.approx(expected_figures, rel=1e-5)
    assert found.keys() == expected.keys()
    assert max(value.abs().max().item() for value in expected.values()) > 0.1
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)
