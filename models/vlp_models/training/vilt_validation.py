"""Figures of a ViLT on the evaluation split while a run goes on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from accelerate import Accelerator

from vlp_models.data.picture_loading import PictureSplit
from vlp_models.data.tokens import TokenStore
from vlp_models.evaluation.accuracy import report_accuracy
from vlp_models.training.mean_figures import mean_figures
from vlp_models.training.recipe import Recipe
from vlp_models.training.training_data import BatchPlace, TrainingTexts
from vlp_models.training.vilt_losses import ViltLosses
from vlp_models.training.vilt_streams import build_vilt_streams


class ViltValidation:
    """Answers the split's questions, or measures the pre-training losses where there are none to answer.

    Args:
        recipe: objectives and batch size.
        losses: the model with its objectives; put into evaluation mode by the caller.
        split: the evaluation split.
        texts: tokenizer and answers.
        accelerator: device and precision.
    """

    def __init__(
        self,
        recipe: Recipe,
        losses: ViltLosses,
        split: PictureSplit,
        texts: TrainingTexts,
        accelerator: Accelerator,
    ) -> None:
        self._losses, self._split, self._texts, self._accelerator = losses, split, texts, accelerator
        self._batch_size = 2 * recipe.optimisation.batch_size
        self._asked = [(index, question) for index, record in enumerate(split.records) for question in record.questions]
        self._has_answers = recipe.objectives.vqa is not None and bool(self._asked)
        self._streams = [] if self._has_answers else build_vilt_streams(recipe, split, texts, BatchPlace())

    def __call__(self) -> Mapping[str, float]:
        """Figures by name."""
        if self._has_answers:
            return self._accuracies()
        return mean_figures(self._losses, self._streams, self._accelerator)

    def _accuracies(self) -> dict[str, float]:
        processor = self._texts.processor
        tokens = TokenStore.encode((asked.text for _, asked in self._asked), processor.encode, processor.pad_id)
        picture_of = np.array([index for index, _ in self._asked])
        order = np.argsort(tokens.lengths, kind="stable")
        answered = []
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            arrays = (*self._split.pictures.gather(picture_of[rows]), *tokens.gather(rows))
            tensors = [torch.as_tensor(array).to(self._accelerator.device) for array in arrays]
            with self._accelerator.autocast():
                best = self._losses.model.vqa_logits(*tensors).argmax(-1)
            answered += [
                (self._asked[row][1], self._texts.labels[label]) for row, label in zip(rows, best.tolist(), strict=True)
            ]
        report = report_accuracy(answered, {}, "")
        return {"macro": report.macro_accuracy} | {item.type: item.accuracy for item in report.types}
