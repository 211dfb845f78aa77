"""First a classifier, then a detector: the backbone learns what things look like on small crops around them.

A published detector starts from a classifier of ImageNet. Ours starts from the training pictures' own things: crops
hold many more of them for the same number of pixels, and nothing has to be proposed yet.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vlp_pipeline.images import decode_image
from vlp_spec.errors import ArtifactError, ConfigError

from vlp_models.data.detector_pictures import NO_ATTRIBUTE, DetectorExample
from vlp_models.data.prefetching import Prefetcher
from vlp_models.families.faster_rcnn import FasterRcnn
from vlp_models.objectives.region_detection import ATTRIBUTE_WEIGHT
from vlp_models.training.schedule import lr_factor

logger = logging.getLogger(__name__)
_LOGGED_STEPS = 100
_BOX_JITTER = 0.1


@dataclass(frozen=True)
class CropRecipe:
    """How the classifier is trained; no steps leave it out.

    Attributes:
        steps: of the optimizer, one batch each.
        batch_size: crops.
        lr: peak of the rate, which falls as a cosine.
        weight_decay: of all weights.
        warmup: share of the run in which the rate rises from 0.
        window_px: side of the square crops.
        shift_px: how far a crop's middle may be from the thing's, along each side.
    """

    steps: int = 0
    batch_size: int = 96
    lr: float = 3e-3
    weight_decay: float = 0.02
    warmup: float = 0.01
    window_px: int = 72
    shift_px: int = 8

    def __post_init__(self) -> None:
        faults = [
            f"crops.{name}: expected at least {least}, got {getattr(self, name)!r}"
            for name, least in (("steps", 0), ("batch_size", 2), ("window_px", 16), ("shift_px", 0))
            if getattr(self, name) < least
        ]
        if self.shift_px > self.window_px // 2:
            faults.append(
                f"crops.shift_px: expected at most half of window_px, {self.window_px}, got {self.shift_px!r}"
            )
        if self.lr <= 0:
            faults.append(f"crops.lr: expected above 0, got {self.lr!r}")
        if faults:
            raise ConfigError(faults)


class CropBatch(NamedTuple):
    """Crops of B things."""

    pixels: np.ndarray
    """(B, 3, window, window) uint8; blue, green, red."""
    boxes_px: np.ndarray
    """(B, 4) float32, the things in them."""
    class_ids: np.ndarray
    """(B,) int64."""
    attribute_ids: np.ndarray
    """(B,) int64, `NO_ATTRIBUTE` where none is known."""


def crop_batch(examples: Sequence[DetectorExample], recipe: CropRecipe, seed: int, number: int) -> CropBatch:
    """Batch `number` of a run, a pure function of its seed: all things of some pictures, drawn at random.

    Raises:
        ArtifactError: a picture has another size than the detector sees it at.
    """
    rng, window = np.random.default_rng((seed, 8, number)), recipe.window_px
    pixels: list[np.ndarray] = []
    rows: list[tuple[np.ndarray, int, int]] = []
    while len(rows) < recipe.batch_size:
        example = examples[int(rng.integers(len(examples)))]
        if not len(example.boxes):
            continue
        pixels_of = decode_image(example.image)
        if pixels_of.shape[1::-1] != example.size_px:
            raise ArtifactError(
                f"a training picture is {pixels_of.shape[1]}x{pixels_of.shape[0]} pixels, the detector sees it at "
                f"{example.size_px[0]}x{example.size_px[1]}: crops are taken from pictures that are not resized"
            )
        whole = np.pad(pixels_of, ((window, window), (window, window), (0, 0)), mode="edge")
        for box, class_id, attribute_id in zip(example.boxes_px, example.class_ids, example.attribute_ids, strict=True):
            middle, sides = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
            shift = rng.integers(-recipe.shift_px, recipe.shift_px + 1, size=2)
            x, y = (middle - window / 2 + shift).astype(int) + window
            pixels.append(whole[y : y + window, x : x + window, ::-1].transpose(2, 0, 1))
            jitter = rng.uniform(-_BOX_JITTER, _BOX_JITTER, size=4) * np.tile(sides, 2)
            rows.append((box + window - np.array([x, y, x, y]) + jitter, int(class_id), int(attribute_id)))
    boxes, class_ids, attribute_ids = zip(*rows[: recipe.batch_size], strict=True)
    return CropBatch(
        np.stack(pixels[: recipe.batch_size]),
        np.stack(boxes).astype(np.float32),
        np.array(class_ids, dtype=np.int64),
        np.array(attribute_ids, dtype=np.int64),
    )


def pretrain_on_crops(
    model: FasterRcnn, examples: Sequence[DetectorExample], recipe: CropRecipe, seed: int
) -> dict[str, float]:
    """Train backbone, fifth stage, and the predictor's classes and attributes.

    Args:
        model: in training mode, on its device; changed.
        examples: with things in them.
        recipe: how.
        seed: of the batches.

    Returns:
        the last steps' mean loss and share of right classes; empty without steps.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, betas=(0.9, 0.95), fused=True
    )
    recent: list[Tensor] = []
    with Prefetcher(lambda number: crop_batch(examples, recipe, seed, number)) as prefetcher:
        for step in range(recipe.steps):
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr * lr_factor((step + 1) / recipe.steps, "cosine", recipe.warmup)
            loss, is_right = _losses(model, prefetcher.get(step))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            recent = [*recent[1 - _LOGGED_STEPS :], torch.stack([loss.detach(), is_right.float().mean()])]
            if (step + 1) % _LOGGED_STEPS == 0 or step + 1 == recipe.steps:
                logger.info("crops, step %d: loss %.4g, right classes %.4g", step + 1, *torch.stack(recent).mean(dim=0))
    if not recent:
        return {}
    mean_loss, accuracy = torch.stack(recent).mean(dim=0).tolist()
    return {"crop_loss": mean_loss, "crop_accuracy": accuracy}


def _losses(model: FasterRcnn, batch: CropBatch) -> tuple[Tensor, Tensor]:
    """The loss, and (B,) bool, whether the class was right."""
    device = model.cell_anchors.device
    pixels = torch.from_numpy(batch.pixels).to(device, memory_format=torch.channels_last)
    numbers = torch.arange(len(batch.boxes_px), dtype=torch.float32)[:, None]
    rois = torch.cat([numbers, torch.from_numpy(batch.boxes_px)], dim=1).to(device)
    class_ids, attribute_ids = (torch.from_numpy(ids).to(device) for ids in (batch.class_ids, batch.attribute_ids))
    _, logits = model.judge_pooled(model.pool_rois(model.backbone(model.normalise(pixels)), rois), class_ids)
    known = attribute_ids != NO_ATTRIBUTE
    attributes = F.cross_entropy(logits.attribute_logits[known], attribute_ids[known], reduction="sum")
    loss = F.cross_entropy(logits.class_logits, class_ids) + ATTRIBUTE_WEIGHT * attributes / known.sum().clamp(min=1)
    return loss, logits.class_logits.argmax(dim=1) == class_ids
