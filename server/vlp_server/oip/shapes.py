"""Whether the shape that a caller names is one that a model takes. Nothing is allocated before this was asked."""

from __future__ import annotations

import math
from collections.abc import Mapping

from vlp_spec.deployment import AxisLimit
from vlp_spec.errors import InvalidArgumentError, TooLargeError

from vlp_server.oip.signatures import TensorSignature

_SHOWN = 16
_MAX_RANK = 16


class ShapeCheck:
    """The sizes of a request's axes, which all its inputs must agree on.

    Args:
        axes: dynamic axis -> its limits; one without limits takes 1 to `max_elements`.
        max_rows: of the axis "batch".
        max_elements: of an axis that has no limits.
    """

    def __init__(self, axes: Mapping[str, AxisLimit], max_rows: int, max_elements: int) -> None:
        self._largest = {**{axis: limit.max for axis, limit in axes.items()}, "batch": max_rows}
        self._max_elements = max_elements
        self._seen: dict[str, tuple[int, str]] = {}

    def check(self, wanted: TensorSignature, datatype: str, shape: tuple[int, ...]) -> int:
        """How many elements the tensor has.

        Raises:
            InvalidArgumentError: another datatype, rank or size, or another size than an input before it has.
            TooLargeError: an axis is over its limit.
        """
        name = wanted.name
        if datatype != wanted.datatype:
            raise _fault(name, f"datatype {datatype[:20]!r}, expected {wanted.datatype}")
        if len(shape) != len(wanted.shape):
            raise _fault(name, f"shape {_shown(shape)}, expected {wanted.sizes}")
        for axis, size in zip(wanted.shape, shape, strict=True):
            if isinstance(axis, int):
                if size != axis:
                    raise _fault(name, f"shape {_shown(shape)}, expected {wanted.sizes}")
                continue
            if size < 1:
                raise _fault(name, f"shape {_shown(shape)}: every size must be 1 or more")
            self._check_axis(name, axis, size)
        return math.prod(shape)

    def _check_axis(self, name: str, axis: str, size: int) -> None:
        largest = self._largest.get(axis, self._max_elements)
        if size > largest:
            raise TooLargeError(f"input {name!r}: {size} along its axis {axis or 'of elements'}, at most {largest}")
        if not axis:
            return
        before, owner = self._seen.setdefault(axis, (size, name))
        if size != before:
            raise _fault(name, f"{size} along the axis {axis!r}, where input {owner!r} has {before}")


def check_sizes(name: str, sizes: object) -> tuple[int, ...]:
    """A shape as whole numbers.

    Raises:
        InvalidArgumentError: it is no list of them.
    """
    if (
        not isinstance(sizes, list | tuple)
        or len(sizes) > _MAX_RANK
        or not all(type(size) is int and -(2**63) <= size < 2**63 for size in sizes)
    ):
        raise _fault(name, f"shape: expected a list of at most {_MAX_RANK} whole numbers")
    return tuple(sizes)


def _shown(shape: tuple[int, ...]) -> str:
    return f"{list(shape[:_SHOWN])}"


def _fault(name: str, text: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"input {name[:64]!r}: {text}", field=name[:64])
