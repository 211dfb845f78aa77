"""Losses and accuracies on the evaluation split: means over the first batches of its streams."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from accelerate import Accelerator

from vlp_models.data.streams import BatchStream
from vlp_models.training.losses import ObjectiveLosses

_MAX_BATCHES = 20


def mean_figures(losses: ObjectiveLosses, streams: Sequence[BatchStream], accelerator: Accelerator) -> dict[str, float]:
    """Means of what the objectives say of at most 20 batches of every stream, by name.

    Args:
        losses: put into evaluation mode by the caller.
        streams: of the evaluation split; the shortest decides.
        accelerator: device and precision.
    """
    sums: dict[str, list[float]] = defaultdict(list)
    for number in range(min(_MAX_BATCHES, *(stream.batches_per_epoch for stream in streams))):
        batch = {
            stream.name: {
                name: torch.as_tensor(array).to(accelerator.device) for name, array in stream.batch(number).items()
            }
            for stream in streams
        }
        with accelerator.autocast():
            figures = losses(batch)
        for name, value in figures.items():
            sums[name].append(float(value))
    return {name: sum(values) / len(values) for name, values in sums.items()}
