"""Recall of a dual encoder on the evaluation split while a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional as F

from vlp_models.data.picture_loading import PictureSplit
from vlp_models.data.preparations import gather_squares
from vlp_models.families.dual_encoder import DualEncoder
from vlp_models.objectives.retrieval_recall import retrieval_recall
from vlp_models.training.dual_streams import tokenise_for_towers
from vlp_models.training.training_data import TrainingTexts

_RANKS = (1, 5, 10)


class DualValidation:
    """Finds the split's pictures by their captions, and captions by their pictures.

    Only a picture's own captions count as right, so that any data set can be measured; see
    vlp_models.evaluation.retrieval for what is true of other pictures too.

    Args:
        model: put into evaluation mode by the caller.
        split: the evaluation split.
        texts: the tokenizer.
        accelerator: device and precision.
        batch_size: rows a pass.
    """

    def __init__(
        self,
        model: DualEncoder,
        split: PictureSplit,
        texts: TrainingTexts,
        accelerator: Accelerator,
        batch_size: int,
    ) -> None:
        self._model, self._split, self._accelerator, self._batch_size = model, split, accelerator, batch_size
        captions = [caption for record in split.records for caption in record.captions]
        self._tokens = tokenise_for_towers(captions, texts, model.config.kind)
        self._owners = np.repeat(np.arange(len(split.records)), [len(record.captions) for record in split.records])

    def __call__(self) -> Mapping[str, float]:
        """Recall at 1, 5 and 10: image_r1 is that of text queries for pictures, text_r1 the other way."""
        image = self._embed(len(self._split.records), self._pictures)
        text = self._embed(len(self._owners), self._captions)
        scores, owners = image @ text.T, torch.from_numpy(self._owners)
        numbers = torch.arange(len(image))
        figures: dict[str, float] = {}
        for rank in _RANKS:
            recall = retrieval_recall(scores, numbers, owners, rank)
            figures |= {f"image_r{rank}": recall.image, f"text_r{rank}": recall.text}
        return figures

    def _embed(self, count: int, embed: Callable[[np.ndarray], Tensor]) -> Tensor:
        parts = []
        for start in range(0, count, self._batch_size):
            with self._accelerator.autocast():
                embeds = embed(np.arange(start, min(start + self._batch_size, count)))
            parts.append(F.normalize(embeds.float(), dim=-1).cpu())
        return torch.cat(parts)

    def _pictures(self, rows: np.ndarray) -> Tensor:
        pixels = gather_squares(self._split.pictures, rows)
        return self._model.encode_image(torch.from_numpy(pixels).to(self._accelerator.device))

    def _captions(self, rows: np.ndarray) -> Tensor:
        ids, mask = (torch.from_numpy(array).to(self._accelerator.device) for array in self._tokens.gather(rows))
        return self._model.encode_text(ids, mask)
