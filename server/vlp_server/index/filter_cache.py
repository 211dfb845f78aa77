"""Which items match a filter, remembered. As an id's metadata never changes, only newer ids need a look.

Deleted items stay in the results; the index masks them out.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from vlp_server.index.built_index import BuiltIndex, Mask
from vlp_server.index.filters import Filter
from vlp_server.index.scoring import Ids

Match = Callable[[Filter, int], Ids]
Masked: TypeAlias = tuple[weakref.ref[BuiltIndex], Mask]
_ENTRY_BYTES = 1024


class Allowed:
    """The items that match one filter.

    Args:
        ids: (n,) ascending.
        through: ids beyond this one were not looked at. Where the database was ahead of the index, so is this.
        masked: an index, held weakly, and these ids as a mask of its places.
    """

    def __init__(self, ids: Ids, through: int, masked: Masked | None = None) -> None:
        self.ids = ids
        self.through = through
        self._masked = masked

    def mask_for(self, index: BuiltIndex) -> Mask:
        """The same as places of an index."""
        masked = self._masked
        if masked is not None and masked[0]() is index:
            return masked[1]
        mask = index.mask_of(self.ids)
        self._masked = weakref.ref(index), mask
        return mask

    def extended(self, ids: Ids, through: int) -> Allowed:
        """With the matching ids up to a greater one; a mask of an index of older ids only stays true."""
        masked = self._masked
        index = None if masked is None else masked[0]()
        keep = masked if index is not None and index.through <= self.through else None
        return Allowed(np.concatenate([self.ids, ids]) if len(ids) else self.ids, through, keep)

    @property
    def size_bytes(self) -> int:
        """Memory of ids and mask."""
        masked = self._masked
        return _ENTRY_BYTES + self.ids.nbytes + (0 if masked is None else masked[1].nbytes)


class FilterCache:
    """Results by filter, least recently used out first. For several threads.

    Args:
        max_bytes: of all results; 0 = nothing is remembered.
        match: finds the matching ids with after < id, as the database is now.
    """

    def __init__(self, max_bytes: int, match: Match) -> None:
        self._max_bytes = max_bytes
        self._match = match
        self._lock = threading.Lock()
        # By their text: equal filters need not mean the same, for 1 == True.
        self._entries: OrderedDict[str, Allowed] = OrderedDict()

    def allowed(self, condition: Filter, through: int) -> Allowed:
        """The ids up to `through` (at least) that match."""
        key = repr(condition)
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
        if entry is not None and entry.through >= through:
            return entry
        if entry is None:
            entry = Allowed(np.empty(0, np.int64), 0)
        ids = self._match(condition, entry.through)
        entry = entry.extended(ids, max(through, int(ids[-1]) if len(ids) else 0))
        with self._lock:
            self._entries[key] = entry
            self._entries.move_to_end(key)
            total = sum(one.size_bytes for one in self._entries.values())
            while self._entries and total > self._max_bytes:
                total -= self._entries.popitem(last=False)[1].size_bytes
        return entry
