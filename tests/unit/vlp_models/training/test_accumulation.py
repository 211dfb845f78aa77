"""Two micro-batches of b rows give the step of one batch of 2 b rows, word counts included."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_gallery import uniter_recipe_text, write_gallery
from tiny_pictures import dual_recipe_text, recipe_text, write_jsonl, writing_recipe_text
from torch import Tensor
from vlp_models.data.masking import IGNORED
from vlp_models.data.matching import UNKNOWN
from vlp_models.data.streams import Arrays, BatchShape
from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig
from vlp_models.training.family import family_of
from vlp_models.training.machine import training_machine
from vlp_models.training.recipe import Recipe
from vlp_models.training.recipe_file import parse_recipe
from vlp_models.training.trainer import Trainer
from vlp_models.training.training_data import BatchPlace, choose_texts
from vlp_models.training.vilt_losses import ViltLosses

ROWS, WORDS = 8, 5
_LOSSES = (
    *("loss", "lm", "mlm", "itm", "vqa", "regions", "grounding", "centres", "unsaid", "told"),
    *("wra", "mrfr", "mrc", "mrc_kl", "entailment", "reasoning", "referring"),
)
OBJECTIVES = ("objectives.mlm.weight=1", "objectives.itm.weight=1", "objectives.wpa.weight=0.1")


def _captions() -> Arrays:
    """The first two rows hide three words each, the others one or two."""
    rng = np.random.default_rng(0)
    ids = rng.integers(5, 20, (ROWS, WORDS)).astype(np.int32)
    targets = np.full((ROWS, WORDS), IGNORED, dtype=np.int64)
    for row in range(ROWS):
        hidden = slice(1, 4 if row < 2 else 2 + row % 2)
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
    """The arrays cut into batches of `size` rows, which make one step together."""

    name: str
    arrays: Arrays
    size: int

    def batch(self, number: int) -> Arrays:
        cut = {name: array[number * self.size : (number + 1) * self.size] for name, array in self.arrays.items()}
        if "mlm_targets" in cut:
            shape = BatchShape(self.size, micro_batches=ROWS // self.size)
            cut["mlm_scale"] = shape.mean_scale(int((self.arrays["mlm_targets"] != IGNORED).sum()))
        return cut

    @property
    def batches_per_epoch(self) -> int:
        return ROWS // self.size


def _slices_step(tmp_path: Path, micro_batches: int) -> tuple[dict[str, Tensor], dict[str, float]]:
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
    expected, expected_figures = _slices_step(tmp_path, 1)
    found, figures = _slices_step(tmp_path, micro_batches)
    assert figures.keys() >= {"loss", "mlm", "itm", "wpa", "vqa"}
    assert figures == pytest.approx(expected_figures, rel=1e-5)
    _assert_same(found, expected)


def _assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert max(value.abs().max().item() for value in expected.values()) > 0.1
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6, msg=name)


@dataclass(frozen=True)
class _Given:
    """Batches that are there already."""

    name: str
    batches: list[Arrays]

    def batch(self, number: int) -> Arrays:
        return self.batches[number]

    @property
    def batches_per_epoch(self) -> int:
        return len(self.batches)


def _joined(batches: list[Arrays]) -> Arrays:
    """The rows of some batches in one, with the scales that the one needs."""
    rows = np.cumsum([0, *(len(batch["input_ids"]) for batch in batches)])
    joined: Arrays = {}
    for name, like in batches[0].items():
        parts = [batch[name] for batch in batches]
        if name in ("region_rows", "ground_rows"):
            parts = [part + first for part, first in zip(parts, rows, strict=False)]
        elif name in _GROUNDED:
            words = np.cumsum([0, *(len(batch["ground_rows"]) for batch in batches)])
            parts = [part + (first, 0) for part, first in zip(parts, words, strict=False)]
        elif name == "region_words":
            regions = np.cumsum([0, *(len(batch["region_rows"]) for batch in batches)])
            parts = [part + (first, 0) for part, first in zip(parts, regions, strict=False)]
        elif like.ndim > 1:
            width = max(part.shape[1] for part in parts)
            fill = {"mlm_targets": IGNORED, "itm_words": UNKNOWN}.get(name, 0)
            edges = [(0, 0)] * (like.ndim - 2)
            parts = [np.pad(part, [(0, 0), (0, width - part.shape[1]), *edges], constant_values=fill) for part in parts]
        if like.ndim:
            joined[name] = np.concatenate(parts)
    return joined | _scales(joined)


def _scales(joined: Arrays) -> Arrays:
    """Those of a step of one batch."""
    scales: Arrays = {}
    if "mlm_targets" in joined:
        scales["mlm_scale"] = np.float32(1 / (joined["mlm_targets"] != IGNORED).sum())
    if "ground_centres" in joined:
        scales["ground_centres_scale"] = np.float32(1 / (~np.isnan(joined["ground_centres"])).sum())
        scales |= {f"{name}_scale": np.float32(1 / len(joined[name])) for name in _GROUNDED}
    if "region_words" in joined:
        scales["region_scale"] = np.float32(1 / len(joined["region_words"]))
    if "picture_groups" in joined:
        scales["word_scale"] = np.float32(1 / _counts([joined], "text_mask")[0])
    if "region_masked" in joined:
        scales["region_scale"] = np.float32(1 / joined["region_masked"].sum())
    return scales


def _counts(batches: list[Arrays], name: str) -> list[int]:
    """How many each batch's sums are over."""
    if name == "text_mask":  # tokens that a text is said in: the first is given
        return [int(batch[name].sum()) - len(batch[name]) for batch in batches]
    if name == "region_masked":
        return [int(batch[name].sum()) for batch in batches]
    return [int((batch[name] != IGNORED).sum() if name == "mlm_targets" else len(batch[name])) for batch in batches]


def _write_uneven(root: Path) -> Path:
    """Pictures with one to four words for their region."""
    write_jsonl(root, {"train": 24})
    path = root / "train.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for index, record in enumerate(records):
        record["regions"][0]["words"] = ["red", "picture", "blue", "very"][: 1 + index % 4]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return root


VILT = (
    "objectives.mlm.probability=0.5",
    'objectives.itm.negatives="hard"',
    "objectives.regions.weight=1",
    *(f"objectives.grounding.{loss}=1" for loss in ("weight", "centres", "unsaid", "told")),
)
_GROUNDED = ("ground_unsaid", "ground_told")


UNITER = (
    "objectives.mlm.probability=0.5",
    'objectives.itm.negatives="hard"',
    "objectives.mrm.probability=0.4",
    "objectives.mrm.classes=0.5",
    "objectives.mrm.weight=2",
    "objectives.vqa.loss=ce",
)
_UNITER_OBJECTIVES = ("mlm", "itm", "wpa", "mrm", "vqa", "entailment", "reasoning", "referring")


def _recipe_and_counts(family: str, root: Path, micro_batches: int) -> tuple[Recipe, dict[str, list[str]]]:
    """A recipe on a data set, and by stream what its batches have in different numbers."""
    accumulating = f"optimisation.grad_accumulation={micro_batches}"
    if family == "uniter":
        text = uniter_recipe_text(write_gallery(root, {"train": 24}), *_UNITER_OBJECTIVES)
        counted = {"captions": ["mlm_targets"], "masked_regions": ["region_masked"]}
        return parse_recipe(text, [*UNITER, accumulating]), counted
    _write_uneven(root)
    if family == "vilt":
        counted = {
            "captions": ["mlm_targets"],
            "regions": ["region_words"],
            "questions": ["ground_unsaid", "ground_told"],
        }
        return parse_recipe(recipe_text(root), [*VILT, accumulating]), counted
    if family in ("blip", "coca"):
        text = writing_recipe_text(root, family).replace("text_layers = 1", "text_layers = 2")
        return parse_recipe(text, ["objectives.regions.weight=1", accumulating]), {
            "pairs": ["region_words", "text_mask"]
        }
    text = dual_recipe_text(root).replace("[objectives.itc]", "[objectives.regions]")
    return parse_recipe(text, [accumulating]), {"pairs": ["region_words"]}


@pytest.mark.parametrize("family", ["vilt", "clip", "uniter", "blip", "coca"])
def test_batches_of_one_step_know_of_each_others_words(tmp_path: Path, family: str) -> None:
    micro_batches = 3
    recipe, counted = _recipe_and_counts(family, tmp_path / "data", micro_batches)
    with training_machine("cpu", recipe.compute) as accelerator:
        made = family_of(recipe)
        train, _ = made.load_splits()
        texts = choose_texts(recipe, train.records)
        streams = made.build_streams(train, texts, BatchPlace(micro_batches=micro_batches))
        drawn = {stream.name: [stream.batch(number) for number in range(micro_batches)] for stream in streams}
        for stream, names in counted.items():
            for name in names:
                assert len(set(_counts(drawn[stream], name))) > 1, "too even to tell mistakes"
        gradients = []
        for count in (1, micro_batches):
            torch.manual_seed(0)
            losses = made.build_losses(made.build_model(texts, None), texts)
            given = [_Given(name, [_joined(own)] if count == 1 else own) for name, own in drawn.items()]
            plan = replace(recipe.optimisation, grad_accumulation=count)
            whole = replace(recipe, optimisation=plan)
            trainer = Trainer(whole, losses, given, accelerator=accelerator, run_dir=tmp_path)
            figures = trainer.accumulate_gradients()
            own = {name: value.grad for name, value in losses.trainable().items() if value.grad is not None}
            gradients.append((own, {name: float(value) for name, value in figures.items() if name in _LOSSES}))
    (expected, expected_figures), (found, found_figures) = gradients
    _assert_same(found, expected)
    assert found_figures == pytest.approx(expected_figures, rel=1e-5)
