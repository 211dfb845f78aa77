"""A cache bounded in entries and in bytes. Keys say all that a value depends on, so nothing ever expires by itself."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

V = TypeVar("V")


class LruCache(Generic[V]):
    """Forgets what was not used for longest. Belongs to one thread.

    Args:
        max_entries: 0 switches the cache off.
        max_bytes: of all values as `put` was told; 0 switches the cache off.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._values: OrderedDict[Hashable, tuple[V, int]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    @property
    def enabled(self) -> bool:
        """Whether anything can be kept at all."""
        return self._max_entries > 0 and self._max_bytes > 0

    def get(self, key: Hashable) -> V | None:
        """The value, which becomes the latest used; None when it is not there."""
        entry = self._values.get(key)
        if entry is None:
            return None
        self._values.move_to_end(key)
        return entry[0]

    def put(self, key: Hashable, value: V, size_bytes: int) -> None:
        """Keep a value; one that is larger than the whole cache is not kept."""
        if not self.enabled or size_bytes > self._max_bytes:
            return
        if key in self._values:
            self.size_bytes -= self._values.pop(key)[1]
        self._values[key] = value, size_bytes
        self.size_bytes += size_bytes
        while len(self._values) > self._max_entries or self.size_bytes > self._max_bytes:
            _, (_, freed) = self._values.popitem(last=False)
            self.size_bytes -= freed

    def drop(self, unwanted: Callable[[Hashable], bool]) -> int:
        """Forget every value whose key is unwanted; says how many."""
        keys = [key for key in self._values if unwanted(key)]
        for key in keys:
            self.size_bytes -= self._values.pop(key)[1]
        return len(keys)
