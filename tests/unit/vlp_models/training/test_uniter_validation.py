from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from vlp_models.data.streams import Arrays
from vlp_models.training.losses import Batch
from vlp_models.training.machine import training_machine
from vlp_models.training.recipe import ComputeRecipe
from vlp_models.training.uniter_losses import UniterLosses
from vlp_models.training.uniter_validation import UniterValidation


class _Numbers:
    """Batch number n holds n, plus what the stream begins with."""

    def __init__(self, name: str, first: int, batches: int) -> None:
        self.name, self.first, self.batches_per_epoch = name, first, batches

    def batch(self, number: int) -> Arrays:
        return {"value": np.array([self.first + number])}


class _Losses(nn.Module):
    """Gives back the numbers of the streams that are there; of the second one in every other batch alone."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        found = {name: arrays["value"].float().sum() for name, arrays in batch.items()}
        return {name: value for name, value in found.items() if name == "one" or value % 2 == 0}


def _taken(batches: int) -> range:
    return range(min(batches, 40))


@pytest.mark.parametrize("batches", [(6, 9), (9, 6), (50, 60), (3, 99)])
def test_figures_are_means_over_the_batches_that_have_them(batches: tuple[int, int]) -> None:
    streams = [_Numbers("one", 0, batches[0]), _Numbers("two", 100, batches[1])]
    with training_machine("cpu", ComputeRecipe(num_threads=1)) as accelerator:
        validate = UniterValidation(cast(UniterLosses, _Losses()), list(streams), accelerator)
        found = validate()
        assert found == validate()
    one, two = (_taken(count) for count in batches)
    assert found == {"one": np.mean(one), "two": 100 + np.mean(two[::2])}


def test_precision_is_that_of_the_run() -> None:
    class Product(nn.Module):
        def forward(self, batch: Batch) -> dict[str, Tensor]:
            weight = torch.full((1, 1), 1.001)
            return {"loss": (batch["one"]["value"].float()[None] @ weight).sum()}

    with training_machine("cpu", ComputeRecipe(precision="bf16", num_threads=1)) as accelerator:
        validate = UniterValidation(cast(UniterLosses, Product()), [_Numbers("one", 1, 1)], accelerator)
        assert validate() == {"loss": 1.0}  # 1.001 in bf16
