"""Runs a batch so that one bad item cannot take its neighbours along. Blocking; called in an engine thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from vlp_spec.errors import InferenceError, InternalError

RowOutputs = dict[str, NDArray[Any]]
T = TypeVar("T")


def run_bisecting(
    items: Sequence[T], run: Callable[[Sequence[T]], Mapping[str, NDArray[Any]]]
) -> list[RowOutputs | InferenceError]:
    """Compute items together; where that fails, in halves, down to the items that fail on their own.

    A failure is an exception, or an output that is not finite. All rows of such a batch are computed again, the finite
    ones too: what made one row NaN may have reached the others (a scale shared by the batch does), and then they are
    finite and wrong. n items with one bad one cost less than 2 log2(n) further runs.

    Args:
        items: at least one, of whatever `run` takes; a part of them is always a slice.
        run: computes a batch; output name -> (items, ...).

    Returns:
        For each item its rows of the outputs, or the error that is this item's own.

    Raises:
        InternalError: `run` raised it, or returned outputs of a wrong length: the fault is ours and no item's.
    """
    detail = "an output is not finite"
    try:
        outputs = run(items)
    except InternalError:
        raise
    except Exception as error:
        detail = repr(error)
    else:
        _check_rows(outputs, len(items))
        if all(_is_finite(array) for array in outputs.values()):
            return [{name: array[row] for name, array in outputs.items()} for row in range(len(items))]
    if len(items) == 1:
        message = "the model failed on this item; the same input will fail again"
        return [InferenceError(message, detail=detail)]
    middle = len(items) // 2
    return run_bisecting(items[:middle], run) + run_bisecting(items[middle:], run)


def _is_finite(array: NDArray[Any]) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _check_rows(outputs: Mapping[str, NDArray[Any]], count: int) -> None:
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != count:
            raise InternalError(detail=f"output {name!r} has shape {array.shape} for a batch of {count} items")
