"""Training a region detector from scratch: pictures with boxes in, checkpoint directory out.

One process, on the CPU or one GPU. Every batch and every draw follows from the seed and the step's number, so a run
that was broken off goes on from its newest state as if nothing had happened.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn
from vlp_pipeline.detector_image import DetectorImageProcessor
from vlp_pipeline.detector_settings import DetectorSettings
from vlp_spec.errors import ArtifactError, ConfigError, InferenceError

from vlp_models.checkpoints.faster_rcnn_directory import DetectorCheckpoint, save_detector
from vlp_models.data.detector_pictures import DetectorExample, DetectorVocabulary, SizeBatches, decode_batch
from vlp_models.data.prefetching import Prefetcher
from vlp_models.families.faster_rcnn import FasterRcnn
from vlp_models.families.faster_rcnn_config import FasterRcnnConfig
from vlp_models.objectives.region_detection import TrueRegions
from vlp_models.training.detector_crops import CropRecipe, pretrain_on_crops
from vlp_models.training.detector_losses import DetectorSampling, detector_losses
from vlp_models.training.schedule import lr_factor

logger = logging.getLogger(__name__)
_STATE, _LOG, _FINAL = "state.pt", "log.jsonl", "final"
_BETAS = (0.9, 0.95)


@dataclass(frozen=True)
class DetectorRecipe:
    """How a detector is trained.

    Attributes:
        steps: of the optimizer, one batch each.
        batch_size: pictures.
        lr: peak of the rate, which falls as a cosine.
        weight_decay: of matrices and convolutions.
        warmup: share of the run in which the rate rises from 0.
        clip_norm: largest norm of all gradients together.
        seed: of weights, batches and draws.
        log_every: steps between lines of the log.
        save_every: steps between states.
        sampling: how much is learned from a picture.
        crops: the classifier that the detector starts from.
    """

    steps: int
    batch_size: int = 16
    lr: float = 2e-3
    weight_decay: float = 0.02
    warmup: float = 0.03
    clip_norm: float = 5.0
    seed: int = 0
    log_every: int = 20
    save_every: int = 200
    sampling: DetectorSampling = field(default_factory=DetectorSampling)
    crops: CropRecipe = field(default_factory=CropRecipe)

    def __post_init__(self) -> None:
        faults = [
            f"{name}: expected 1 or more, got {getattr(self, name)!r}"
            for name in ("steps", "batch_size", "log_every", "save_every")
            if getattr(self, name) < 1
        ]
        faults += [
            f"{name}: expected above 0, got {getattr(self, name)!r}"
            for name in ("lr", "clip_norm")
            if getattr(self, name) <= 0
        ]
        if not 0 <= self.warmup < 1:
            faults.append(f"warmup: expected a share below 1, got {self.warmup!r}")
        if faults:
            raise ConfigError(faults)


def train_detector(
    config: FasterRcnnConfig,
    examples: Sequence[DetectorExample],
    *,
    settings: DetectorSettings,
    vocabulary: DetectorVocabulary,
    recipe: DetectorRecipe,
    out_dir: Path,
    device: str = "cpu",
    resume: bool = False,
) -> DetectorCheckpoint:
    """Train, and write `out_dir`/{log.jsonl, state.pt, final/}.

    Args:
        config: of the model; as many classes and attributes as the vocabulary has.
        examples: of the training split, loaded with the same settings.
        settings: of the host side; the model's anchors and stride are put in.
        vocabulary: names of classes and attributes.
        recipe: how.
        out_dir: made where it is not there.
        device: "cpu", or a CUDA device.
        resume: continue from state.pt where it is there; without it, a folder that holds one is refused.

    Returns:
        The trained detector, as final/ holds it.

    Raises:
        ConfigError: the folder holds another run, or the vocabulary does not fit the model.
        ArtifactError: a picture or the state cannot be read.
        InferenceError: training diverged.
    """
    if (len(vocabulary.classes), len(vocabulary.attributes)) != (config.num_classes, config.num_attributes):
        raise ConfigError(
            [
                f"vocabulary: {len(vocabulary.classes)} classes and {len(vocabulary.attributes)} attributes, but the "
                f"model has {config.num_classes} and {config.num_attributes}"
            ]
        )
    if (out_dir / _STATE).exists() and not resume:
        raise ConfigError([f"{out_dir}: holds a run; resume it, or choose another folder"])
    out_dir.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    model = FasterRcnn(config)
    model.init_weights()
    # Convolutions of few channels run faster so, on the CPU too.
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.crops.steps and not (out_dir / _STATE).exists():
        pretrain_on_crops(model.train(), examples, recipe.crops, recipe.seed)
        _Run(model, model.anchored(settings), recipe, out_dir).save()
    run = _Run(model, model.anchored(settings), recipe, out_dir)
    run.go(examples)
    checkpoint = DetectorCheckpoint(model.to("cpu").eval(), run.settings, vocabulary.classes, vocabulary.attributes)
    save_detector(out_dir / _FINAL, checkpoint)
    return checkpoint


class _Run:
    """The loop and what it keeps."""

    def __init__(self, model: FasterRcnn, settings: DetectorSettings, recipe: DetectorRecipe, out_dir: Path) -> None:
        self.model, self.settings, self.recipe, self.out_dir = model, settings, recipe, out_dir
        self._optimizer = _build_optimizer(model, recipe)
        self._step = 0
        # Regions are drawn from fewer proposals than while serving; suppression is a good part of a step.
        kept = min(recipe.sampling.proposals_per_picture, settings.pre_nms_top_n)
        self._training_settings = replace(settings, post_nms_top_n=kept)
        if (out_dir / _STATE).exists():
            self._load()

    def go(self, examples: Sequence[DetectorExample]) -> None:
        recipe, processor = self.recipe, DetectorImageProcessor(self.settings)
        batches = SizeBatches(examples, recipe.batch_size, recipe.seed)

        def build(number: int) -> tuple[Tensor, list[DetectorExample]]:
            chosen = [examples[index] for index in batches.batch(number)]
            return torch.from_numpy(decode_batch(chosen, processor)), chosen

        self.model.train()
        log = _Log(self.out_dir / _LOG, self._step)
        torch.set_flush_denormal(True)
        try:
            with Prefetcher(build) as prefetcher:
                while self._step < recipe.steps:
                    pixels, chosen = prefetcher.get(self._step)
                    losses = self._take_step(pixels, chosen)
                    self._step += 1
                    log.add(losses, len(chosen))
                    if self._step % recipe.log_every == 0 or self._step == recipe.steps:
                        log.write(self._step, self._optimizer.param_groups[0]["lr"])
                    if self._step % recipe.save_every == 0 or self._step == recipe.steps:
                        self.save()
        finally:
            torch.set_flush_denormal(False)

    def _take_step(self, pixels: Tensor, chosen: Sequence[DetectorExample]) -> dict[str, Tensor]:
        recipe = self.recipe
        device = self.model.cell_anchors.device
        for group in self._optimizer.param_groups:
            group["lr"] = recipe.lr * lr_factor((self._step + 1) / recipe.steps, "cosine", recipe.warmup)
        losses = detector_losses(
            self.model,
            pixels.to(device, memory_format=torch.channels_last),
            [_truth(example, device) for example in chosen],
            settings=self._training_settings,
            sampling=recipe.sampling,
            generator=torch.Generator().manual_seed(recipe.seed * 1_000_003 + self._step),
        )
        self._optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm)
        if not torch.isfinite(norm):
            raise InferenceError(f"training diverged at step {self._step + 1}: the gradient is not finite")
        self._optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}

    def save(self) -> None:
        """Keep the run as it is now."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self._step,
            "recipe": dataclasses.asdict(self.recipe),
        }
        unfinished = self.out_dir / f".{_STATE}.unfinished"
        torch.save(state, unfinished)
        os.replace(unfinished, self.out_dir / _STATE)

    def _load(self) -> None:
        path = self.out_dir / _STATE
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            self.model.load_state_dict(state["model"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._step = int(state["step"])
            begun = state["recipe"]
        except (UnpicklingError, OSError, RuntimeError, KeyError, ValueError, TypeError, EOFError) as error:
            raise ArtifactError(f"{path}: cannot be resumed from ({error!s:.300})") from error
        if begun != dataclasses.asdict(self.recipe):
            raise ConfigError([f"{path}: was begun with another recipe; go on with that one, or choose another folder"])
        logger.info("resumed at step %d", self._step)


class _Log:
    """Means of the losses, as JSON lines."""

    def __init__(self, path: Path, first_step: int) -> None:
        self._path = path
        kept = []
        if path.is_file() and first_step:
            kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= first_step]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        self._restart()

    def _restart(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps, self._pictures, self._since = 0, 0, time.monotonic()

    def add(self, losses: Mapping[str, Tensor], pictures: int) -> None:
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0) + value
        self._steps += 1
        self._pictures += pictures

    def write(self, step: int, lr: float) -> None:
        figures = {name: float(total) / self._steps for name, total in self._sums.items()}
        figures |= {"lr": lr, "pictures_per_s": self._pictures / max(time.monotonic() - self._since, 1e-9)}
        rounded = {name: float(f"{value:.6g}") for name, value in figures.items()}
        with self._path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"step": step, **rounded}) + "\n")
        logger.info("step %d: %s", step, "  ".join(f"{name} {value:.4g}" for name, value in rounded.items()))
        self._restart()


def _step_of(line: str) -> float:
    """A log line's step; beyond all steps where the line was torn by a kill."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def _truth(example: DetectorExample, device: torch.device) -> TrueRegions:
    arrays = (example.boxes_px, example.class_ids, example.attribute_ids)
    return TrueRegions(*(torch.from_numpy(array).to(device) for array in arrays))


def _build_optimizer(model: FasterRcnn, recipe: DetectorRecipe) -> torch.optim.AdamW:
    """AdamW; biases, norms and embeddings are not decayed."""
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    decayed = {name for name, value in trained.items() if value.ndim > 1 and "embedding" not in name}
    groups = [
        {"params": [value for name, value in trained.items() if name in decayed], "weight_decay": recipe.weight_decay},
        {"params": [value for name, value in trained.items() if name not in decayed], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=_BETAS, fused=True)
