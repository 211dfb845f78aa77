"""What a bulk run takes and gives: options, a result for each item, and what is between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar

from vlp_client.short_repr import ShortRepr

T = TypeVar("T")


class BulkOptions(TypedDict, total=False):
    """How a bulk run goes about its items.

    Attributes:
        parallel: calls at a time; 4 where left out.
        batch: items of a call, where a call takes several; 32 where left out, and never more than the server says that
            it takes. A call that is still too large for it is sent again in halves.
        batch_bytes: of the pictures of a call; 8 MiB where left out, or what the server takes where that is less.
        ordered: whether results come in the order of their items, as they do where it is left out; else as they are
            done.
        journal: file that keeps what is done, so that a run which was cut off does nothing twice when it is started
            again; made where there is none. None: nothing is kept.
        progress: True for a bar on standard error; or a function that is told how many more items are done with.
        model: name, name@version or name@alias; None for the server's default. Not for a collection.
        deadline_s: of each call, after which the server stops working on it.
    """

    parallel: int
    batch: int
    batch_bytes: int
    ordered: bool
    journal: str | Path | None
    progress: bool | Callable[[int], object]
    model: str | None
    deadline_s: float | None


@dataclass(frozen=True, slots=True)
class BulkSettings:
    """`BulkOptions` with their defaults.

    Raises:
        ValueError: fewer than one call, or item of a call.
    """

    parallel: int = 4
    batch: int = 32
    batch_bytes: int = 8 * 1024 * 1024
    ordered: bool = True
    journal: str | Path | None = None
    progress: bool | Callable[[int], object] = False
    model: str | None = None
    deadline_s: float | None = None

    def __post_init__(self) -> None:
        if min(self.parallel, self.batch) < 1:
            raise ValueError(f"parallel={self.parallel}, batch={self.batch}: expected at least 1")

    @property
    def held_results(self) -> int:
        """Results that may wait for one before them: more is not read ahead."""
        return 4 * self.parallel * self.batch


@dataclass(frozen=True, slots=True, repr=False)
class ItemResult(ShortRepr, Generic[T]):
    """What became of an item.

    Attributes:
        index: its place among the items, from 0.
        item: as it was given.
        value: None where it failed.
        error: why it failed: of `vlp_client.errors`, or OSError, TypeError or ValueError where it could not be read.
        known: whether it was done before, so that nothing was done now.
    """

    index: int
    item: Any = field(repr=False)
    value: T | None = None
    error: Exception | None = None
    known: bool = False

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.error is None

    def unwrap(self) -> T:
        """The value; raises the error where there is none."""
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]  # without an error there is one


@dataclass(frozen=True, slots=True)
class Prepared:
    """An item that is ready to be sent.

    Attributes:
        key: digest of its content; the same for the same content.
        size_bytes: of what is sent.
        payload: what its plan sends.
    """

    key: str
    size_bytes: int
    payload: Any


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What a call made of an item; attributes as in `ItemResult`.

    Attributes:
        model: name@version that answered.
    """

    value: T | None = None
    error: Exception | None = None
    model: str | None = None
    known: bool = False


class ResultOrder(Generic[T]):
    """Results on their way to the caller.

    Args:
        ordered: in the order of the items; else as they come.
    """

    def __init__(self, ordered: bool) -> None:
        self._ordered = ordered
        self._next = 0
        self._held: dict[int, ItemResult[T]] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def is_waiting(self) -> bool:
        """Whether none has its turn."""
        return not self._held or (self._ordered and self._next not in self._held)

    def put(self, result: ItemResult[T]) -> None:
        """One more."""
        self._held[result.index] = result

    def take(self) -> list[ItemResult[T]]:
        """Those whose turn it is."""
        if not self._ordered:
            found, self._held = list(self._held.values()), {}
            return found
        found = []
        while self._next in self._held:
            found.append(self._held.pop(self._next))
            self._next += 1
        return found
