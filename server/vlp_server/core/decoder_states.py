"""The states of texts that are being written, in arrays that a graph reads as they are.

Texts of one request are the rows of a slot; the slots in use are always the first ones, so that a step takes slices and
copies nothing. What a slot looks at (tens of megabytes for a picture) is copied when its request joins, and when slots
move or their number changes, which is rare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vlp_pipeline.generative import AT_MASK, DecoderShape, LookedAt
from vlp_spec.errors import InternalError

Array = NDArray[Any]
_POSITIONS_STEP = 16
_MASKED_STEP = 8
_FEWEST_SLOTS = 4


class DecoderStates:
    """Slots of requests with equally many rows each. Knows no engine, request or algorithm.

    Attributes:
        rows: texts of one request (beams, or several texts drawn by chance).
        lengths: (slots in use,) positions that each slot has read; all rows of a slot have read equally many.
    """

    def __init__(self, shape: DecoderShape, rows: int) -> None:
        self._shape = shape
        self.rows = rows
        self._count = 0
        self._slots = 0
        self._positions = 0
        self._looked = 0
        self._arrays: dict[str, Array] = {}
        self._lengths = np.zeros(0, np.int32)

    @property
    def count(self) -> int:
        """Slots in use."""
        return self._count

    @property
    def lengths(self) -> Array:
        """Positions that each slot has read."""
        return self._lengths[: self._count]

    def join(self, looked_at: LookedAt, positions: int) -> int:
        """Take a slot.

        Args:
            looked_at: what its texts look at.
            positions: the most that they will ever have, the beginning included.

        Returns:
            its number: the last one in use.

        Raises:
            InternalError: other arrays than the decoder looks at.
        """
        if (AT_MASK in looked_at.arrays) != self._shape.masked:
            raise InternalError(detail=f"{AT_MASK} {'missing' if self._shape.masked else 'given'}")
        looked = looked_at.arrays["at_key_0"].shape[1]
        self._grow(self._count + 1, positions, looked)
        slot = self._count
        for name, given in looked_at.arrays.items():
            target = self._arrays[name][slot]
            if name == AT_MASK:
                target[:] = 0
                target[: len(given)] = given
            else:
                target[:, : given.shape[1]] = given
        self._lengths[slot] = 0
        self._count += 1
        return slot

    def leave(self, slot: int) -> int:
        """Free a slot; the last one moves into its place. Returns the number of the one that moved."""
        last = self._count - 1
        if slot != last:
            length = self._lengths[last]
            for name, array in self._arrays.items():
                if name.startswith("past_"):
                    array[slot, :, :, :length] = array[last, :, :, :length]
                else:
                    array[slot] = array[last]
            self._lengths[slot] = length
        self._count = last
        if self._slots > _FEWEST_SLOTS and 4 * self._count <= self._slots:
            self._slots //= 2
            self._resize()
        return last

    def beginning_feeds(self, slots: slice, input_ids: Array) -> dict[str, Array]:
        """Inputs that read the beginnings of texts, one row a slot.

        Args:
            slots: of those that have just joined.
            input_ids: (slots, tokens) int32, padded behind.
        """
        feeds = {name: array[slots] for name, array in self._arrays.items() if name.startswith("at_")}
        shape = (len(input_ids), 1, self._shape.heads, 1, self._shape.head_size)
        nothing = np.zeros(shape, np.float32)
        feeds |= {name: nothing for name in self._arrays if name.startswith("past_")}
        feeds["past_lengths"] = np.zeros(len(input_ids), np.int32)
        feeds["input_ids"] = np.ascontiguousarray(input_ids[:, None], np.int32)
        return feeds

    def answer_feeds(self, input_ids: Array) -> dict[str, Array]:
        """Inputs that read whole texts, (rows, tokens) int32, in the one slot that is in use."""
        feeds = self.step_feeds(slice(0, 1), input_ids[None, :, 0])
        feeds["input_ids"] = np.ascontiguousarray(input_ids[None], np.int32)
        return feeds

    def step_feeds(self, slots: slice, tokens: Array) -> dict[str, Array]:
        """Inputs of one more token for each row: (slots, rows) int32."""
        feeds = {name: array[slots] for name, array in self._arrays.items()}
        feeds["past_lengths"] = self._lengths[slots]
        feeds["input_ids"] = np.ascontiguousarray(tokens[:, :, None], np.int32)
        return feeds

    def keep_beginning(self, slot: int, outputs: Mapping[str, Array], tokens: int) -> None:
        """Note what a beginning of so many tokens left behind; every row of the slot goes on from it.

        Args:
            outputs: new_key_{l} and new_value_{l} of the slot, (1, heads, padded tokens, head size).
        """
        for name, target in self._past(slot):
            target[:, :, :tokens] = outputs[f"new_{name}"][:, :, :tokens]
        self._lengths[slot] = tokens

    def keep_step(self, slot: int, outputs: Mapping[str, Array], parents: Sequence[int]) -> None:
        """Note what a step left behind, and let each row go on from the row that is its parent.

        Args:
            outputs: new_key_{l} and new_value_{l} of the slot, (rows, heads, 1, head size).
        """
        length = int(self._lengths[slot])
        stay = list(parents) == list(range(self.rows))
        for name, target in self._past(slot):
            target[:, :, length] = outputs[f"new_{name}"][:, :, 0]
            if not stay:
                target[:, :, : length + 1] = target[list(parents), :, : length + 1]
        self._lengths[slot] = length + 1

    def _past(self, slot: int) -> list[tuple[str, Array]]:
        names = [f"{kind}_{layer}" for layer in range(self._shape.layers) for kind in ("key", "value")]
        return [(name, self._arrays[f"past_{name}"][slot]) for name in names]

    def _grow(self, slots: int, positions: int, looked: int) -> None:
        """Make room; an axis that grows is doubled or rounded up, so that this is rare."""
        if slots <= self._slots and positions <= self._positions and looked <= self._looked:
            return
        if slots > self._slots:
            self._slots = max(slots, 2 * self._slots)
        self._positions = max(self._positions, _rounded(positions, _POSITIONS_STEP))
        self._looked = max(self._looked, _rounded(looked, _MASKED_STEP) if self._shape.masked else looked)
        self._resize()

    def _resize(self) -> None:
        """Give every array its shape; those that have it already stay."""
        for name, shape in self._shapes().items():
            old = self._arrays.get(name)
            if old is not None and old.shape == shape:
                continue
            resized = np.zeros(shape, np.int32 if name == AT_MASK else np.float32)
            if old is not None:
                used = old[: self._count]
                resized[tuple(slice(size) for size in used.shape)] = used
            self._arrays[name] = resized
        if len(self._lengths) != self._slots:
            lengths = np.zeros(self._slots, np.int32)
            lengths[: self._count] = self._lengths[: self._count]
            self._lengths = lengths

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        heads, size = self._shape.heads, self._shape.head_size
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(self._shape.layers):
            for kind in ("key", "value"):
                shapes[f"past_{kind}_{layer}"] = (self._slots, self.rows, heads, self._positions, size)
                shapes[f"at_{kind}_{layer}"] = (self._slots, heads, self._looked, size)
        if self._shape.masked:
            shapes[AT_MASK] = (self._slots, self._looked)
        return shapes


def _rounded(size: int, step: int) -> int:
    return -(-size // step) * step
