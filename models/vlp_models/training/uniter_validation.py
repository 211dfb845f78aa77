"""Figures of a UNITER on the evaluation split while a run goes on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import torch
from accelerate import Accelerator

from vlp_models.data.streams import BatchStream
from vlp_models.training.uniter_losses import UniterLosses

_MAX_BATCHES = 40


class UniterValidation:
    """Means of the run's own losses and accuracies over the first batches of the split.

    Args:
        losses: the model with its objectives; put into evaluation mode by the caller.
        streams: of the evaluation split.
        accelerator: device and precision.
    """

    def __init__(self, losses: UniterLosses, streams: list[BatchStream], accelerator: Accelerator) -> None:
        self._losses, self._streams, self._accelerator = losses, streams, accelerator

    def __call__(self) -> Mapping[str, float]:
        """Figures by name."""
        sums: dict[str, list[float]] = defaultdict(list)
        counts = [min(_MAX_BATCHES, stream.batches_per_epoch) for stream in self._streams]
        for number in range(max(counts)):
            batch = {
                stream.name: {
                    name: torch.as_tensor(array).to(self._accelerator.device)
                    for name, array in stream.batch(number).items()
                }
                for stream, count in zip(self._streams, counts, strict=True)
                if number < count
            }
            with self._accelerator.autocast():
                figures = self._losses(batch)
            for name, value in figures.items():
                sums[name].append(float(value))
        return {name: sum(values) / len(values) for name, values in sums.items()}
