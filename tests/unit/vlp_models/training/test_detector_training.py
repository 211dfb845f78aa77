from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from vlp_models.checkpoints.faster_rcnn_directory import read_detector
from vlp_models.data.detector_pictures import DetectorExample, DetectorVocabulary
from vlp_models.evaluation.detector_evaluation import evaluate_detector
from vlp_models.evaluation.detector_runners import detector_of, torch_runners
from vlp_models.families.faster_rcnn_config import FasterRcnnConfig
from vlp_models.training import detector_training
from vlp_models.training.detector_crops import CropRecipe
from vlp_models.training.detector_losses import DetectorSampling
from vlp_models.training.detector_training import DetectorRecipe, train_detector
from vlp_pipeline.detector_settings import DetectorSettings
from vlp_spec.errors import ArtifactError, ConfigError, InferenceError

COLOURS = ((230, 30, 30), (40, 60, 230))
VOCABULARY = DetectorVocabulary(("square", "bar"), ("red", "blue"))
CONFIG = replace(
    FasterRcnnConfig.scenes(2, 2),
    stem_width=8,
    res2_width=8,
    bottleneck_width=4,
    depths=(1, 1, 1),
    res5_depth=1,
    rpn_width=16,
    roi_resolution=4,
    anchor_sizes_px=(24.0,),
)
SETTINGS = DetectorSettings(
    ((0.0, 0.0, 1.0, 1.0),), shorter_edge=64, longer_edge=96, pixel_dtype="uint8", min_regions=2, max_regions=10
)
RECIPE = DetectorRecipe(steps=6, batch_size=4, log_every=2, save_every=3, sampling=DetectorSampling(16, 16, 8))


def _example(seed: int) -> DetectorExample:
    """A red or blue square, or a red or blue bar, on grey."""
    rng = np.random.default_rng(seed)
    width = (64, 96)[seed % 2]
    pixels = np.full((64, width, 3), 120, np.uint8)
    kind, colour = int(rng.integers(2)), int(rng.integers(2))
    size = np.array([24, 24 if kind == 0 else 12])
    corner = rng.integers(0, [width - 24, 40])
    x0, y0, x1, y1 = *corner, *(corner + size)
    pixels[y0:y1, x0:x1] = COLOURS[colour]
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    box = np.array([[x0, y0, x1, y1]], np.float32) / np.array([width, 64] * 2, np.float32)
    return DetectorExample(buffer.getvalue(), (width, 64), box, np.array([kind]), np.array([colour]))


EXAMPLES = [_example(seed) for seed in range(24)]


def _train(out_dir: Path, recipe: DetectorRecipe = RECIPE, *, resume: bool = False) -> dict[str, torch.Tensor]:
    checkpoint = train_detector(
        CONFIG,
        EXAMPLES,
        settings=SETTINGS,
        vocabulary=VOCABULARY,
        recipe=recipe,
        out_dir=out_dir,
        resume=resume,
    )
    return checkpoint.model.state_dict()


def _log(out_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out_dir / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """So short a training ends elsewhere where sums are made in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_it_learns_to_find_and_name_two_shapes(tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=70, batch_size=8, lr=1e-2, log_every=10)
    _train(tmp_path, recipe)
    lines = _log(tmp_path)
    assert [line["step"] for line in lines] == list(range(10, 71, 10))
    assert lines[-1]["objectness_loss"] < 0.5 * lines[0]["objectness_loss"]
    assert lines[-1]["attribute_loss"] < 0.5 * lines[0]["attribute_loss"]
    checkpoint = read_detector(tmp_path / "final")
    assert (checkpoint.classes, checkpoint.attributes) == (VOCABULARY.classes, VOCABULARY.attributes)
    scores = evaluate_detector(detector_of(checkpoint.settings, *torch_runners(checkpoint.model)), EXAMPLES)
    assert scores.recall > 0.8
    assert scores.attribute_accuracy > 0.8


@pytest.mark.parametrize("crop_steps", [0, 2])
def test_a_run_that_was_broken_off_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crop_steps: int
) -> None:
    recipe = replace(RECIPE, crops=CropRecipe(crop_steps, batch_size=4, window_px=32))
    whole = _train(tmp_path / "whole", recipe)
    real = detector_training.decode_batch
    calls = []

    def breaking(*arguments: object) -> np.ndarray:
        calls.append(1)
        if len(calls) > 5:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(detector_training, "decode_batch", breaking)
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "broken", recipe)
    assert not (tmp_path / "broken" / "final").exists()
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="holds a run"):
        _train(tmp_path / "broken", recipe)
    resumed = _train(tmp_path / "broken", recipe, resume=True)
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name
    assert [line["step"] for line in _log(tmp_path / "broken")] == [2, 4, 6]


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="cannot be resumed from"):
        _train(tmp_path, resume=True)


def test_a_run_that_diverges_ends(tmp_path: Path) -> None:
    with pytest.raises(InferenceError, match="not finite"):
        _train(tmp_path, replace(RECIPE, lr=1e30, clip_norm=1e30, warmup=0.0))


def test_recipes_and_vocabularies_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        DetectorRecipe(steps=0, lr=0.0, warmup=1.0)
    assert len(caught.value.faults) == 3
    with pytest.raises(ConfigError, match="1 classes and 2 attributes, but the model has 2 and 2"):
        train_detector(
            CONFIG,
            EXAMPLES,
            settings=SETTINGS,
            vocabulary=replace(VOCABULARY, classes=("square",)),
            recipe=RECIPE,
            out_dir=tmp_path,
        )
