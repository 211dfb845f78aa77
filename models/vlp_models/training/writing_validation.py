"""Figures of a model that writes, on the evaluation split while a run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from accelerate import Accelerator
from tokenizers import Tokenizer
from torch import Tensor

from vlp_models.data.picture_loading import PictureSplit
from vlp_models.data.preparations import gather_squares
from vlp_models.data.streams import BatchStream
from vlp_models.scenes.caption_grammar import parse_caption
from vlp_models.scenes.world import Scene
from vlp_models.training.mean_figures import mean_figures
from vlp_models.training.training_data import TrainingTexts
from vlp_models.training.writing_losses import WritingLosses

_WRITTEN_PICTURES = 200


class WritingValidation:
    """Measures the objectives, and where scenes are known writes a caption for some pictures and judges it.

    Args:
        losses: the model with its objectives; put into evaluation mode by the caller.
        split: the evaluation split.
        stream: its batches.
        texts: the tokenizer.
        accelerator: device and precision.
        batch_size: pictures a pass.
    """

    def __init__(
        self,
        losses: WritingLosses,
        split: PictureSplit,
        stream: BatchStream,
        *,
        texts: TrainingTexts,
        accelerator: Accelerator,
        batch_size: int,
    ) -> None:
        self._losses, self._stream, self._pictures = losses, stream, split.pictures
        self._accelerator, self._batch_size = accelerator, batch_size
        self._tokenizer = Tokenizer.from_str(texts.tokenizer_json)
        known = [(index, record.scene) for index, record in enumerate(split.records) if record.scene is not None]
        self._scenes: list[tuple[int, Scene]] = known[:_WRITTEN_PICTURES] if losses.objectives.lm else []

    def __call__(self) -> Mapping[str, float]:
        """Figures by name; "exact" is the share of greedily written captions that are true of their scene."""
        figures = mean_figures(self._losses, [self._stream], self._accelerator)
        if self._scenes:
            texts = self._write(np.array([index for index, _ in self._scenes]))
            facts = [parse_caption(text) for text in texts]
            is_true = [
                said is not None and said.holds(scene) for said, (_, scene) in zip(facts, self._scenes, strict=True)
            ]
            figures["exact"] = sum(is_true) / len(is_true)
        return figures

    def _write(self, pictures: np.ndarray) -> list[str]:
        texts: list[str] = []
        for start in range(0, len(pictures), self._batch_size):
            pixels = torch.from_numpy(gather_squares(self._pictures, pictures[start : start + self._batch_size]))
            with self._accelerator.autocast():
                written = write_greedily(self._losses, pixels.to(self._accelerator.device))
            texts += self._tokenizer.decode_batch(written)
        return texts


def write_greedily(losses: WritingLosses, pixels: Tensor) -> list[list[int]]:
    """The likeliest next token again and again: a plain loop, as a check while training; vlp_pipeline has what serves.

    Args:
        losses: of a model with a decoder, in evaluation mode.
        pixels: (B, H, W, 3) uint8.

    Returns:
        the tokens of each text, without what was given and without the end.
    """
    end, num_given = losses.parts.tokens.end, len(losses.given)
    say = losses.look_at(pixels)
    ids = losses.given.long().expand(len(pixels), -1)
    ended = torch.zeros(len(pixels), dtype=torch.bool, device=ids.device)
    while ids.shape[1] < losses.parts.max_positions and not bool(ended.all()):
        best = say(ids)[:, -1].argmax(-1).masked_fill(ended, end)
        ended = ended | (best == end)
        ids = torch.cat([ids, best[:, None]], dim=1)
    rows = cast(list[list[int]], ids[:, num_given:].tolist())
    return [row[: row.index(end)] if end in row else row for row in rows]
