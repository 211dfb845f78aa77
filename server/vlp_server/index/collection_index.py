"""The derived index of one collection: a built part, a tail of newer vectors, and when the one swallows the other.

The database is the truth. All of this can be thrown away at any time; what it says is checked against the database
before a caller sees it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlp_server.index.building import (
    copy_index,
    empty_index,
    examples_wanted,
    fill_index,
    kind_to_build,
    to_gpu,
)
from vlp_server.index.built_index import BuiltIndex
from vlp_server.index.faiss_library import use_threads
from vlp_server.index.filter_cache import Allowed
from vlp_server.index.scoring import Found, Ids, Matrix, merge
from vlp_server.index.settings import IndexKind, StoreSettings
from vlp_server.index.snapshots import Snapshot, SnapshotFolder
from vlp_server.index.store import CollectionSpec, IndexState, SearchEffort, Vector
from vlp_server.index.tail import Tail
from vlp_server.index.vector_source import VectorSource
from vlp_server.machine import usable_cpus

logger = logging.getLogger(__name__)
# A saved index is read back at the next start. One that lacks up to this share is good enough for that.
_UNSAVED_SHARE = 0.25
# A build that failed, for want of memory perhaps, is not begun again with the next write.
_PAUSE_AFTER_FAILURE_S = 60.0
# Cells and codes that were learned from half of the vectors or more are not learned anew.
_RETRAIN_FACTOR = 2


@dataclass(frozen=True, slots=True)
class _State:
    """What a search looks at: taken once, and good for the whole search."""

    built: BuiltIndex | None
    tail: Tail


class CollectionIndex:
    """Searches one collection in memory, and keeps up with its writes.

    Args:
        spec: of the collection.
        source: its vectors in the database.
        snapshots: its saved indexes.
        settings: of the store.
        wanted: called when there is something to build; `maintain` is then to be called by a background thread.
    """

    def __init__(
        self,
        spec: CollectionSpec,
        source: VectorSource,
        snapshots: SnapshotFolder,
        settings: StoreSettings,
        wanted: Callable[[CollectionIndex], None],
    ) -> None:
        self._spec = spec
        self._source = source
        self._snapshots = snapshots
        self._settings = settings
        self._wanted = wanted
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._state: _State | None = None
        # Writes that came while the state was being read from the database, in their order.
        self._missed: list[tuple[Ids, Matrix, Ids]] | None = None
        # Deletions that came during a build, for the index that is being built.
        self._killed: list[Ids] | None = None
        self._saved_ids: Ids = np.empty(0, np.int64)
        self._not_before_s = 0.0
        self._retired = False
        self._last_id = 0
        self.changes = 0
        """Goes up by one when items begin to be replaced, and by one when that is done."""

    def load(self) -> None:
        """Read what is needed to search; nothing happens when it is there already."""
        with self._loading:
            if self._state is not None:
                return
            with self._lock:
                self._missed = []
            try:
                state = self._read()
            except BaseException:
                with self._lock:
                    self._missed = None
                raise
            with self._lock:
                for ids, vectors, removed in self._missed or ():
                    self._take(state, ids, vectors, removed)
                self._missed = None
                self._state = state
        self._ask_for_build()

    def apply(self, ids: Ids, vectors: Matrix, removed: Ids) -> None:
        """Take over what was just committed; called in the order of commits.

        Args:
            ids: (n,) new ids, ascending.
            vectors: (n, dimension) of the new ids.
            removed: (m,) ids that are gone.
        """
        with self._lock:
            if self._state is not None:
                replaces = 1 if len(ids) and len(removed) else 0
                self.changes += replaces
                try:
                    self._take(self._state, ids, vectors, removed)
                    if self._killed is not None and len(removed):
                        self._killed.append(removed)
                except BaseException:
                    # For want of memory perhaps. What is half taken over is read from the database again.
                    self._state = None
                    raise
                finally:
                    self.changes += replaces
            elif self._missed is not None:
                self._missed.append((ids, vectors, removed))
        self._ask_for_build()

    @property
    def last_id(self) -> int:
        """Every committed id up to this one is searched; it never goes down."""
        self._ready()
        return self._last_id

    def search(self, vector: Vector, k: int, allowed: Allowed | None, effort: SearchEffort) -> Found:
        """The k nearest, nearest first; see `BuiltIndex.search`.

        Args:
            vector: (dimension,) float32, prepared for the metric.
            k: 1 or more.
            allowed: the ids that may be hits.
            effort: of this search.
        """
        state = self._ready()
        found = [state.tail.search(vector, k, None if allowed is None else allowed.ids, self._spec.metric)]
        if state.built is not None:
            mask = None if allowed is None else allowed.mask_for(state.built)
            found.append(state.built.search(vector, k, mask, effort))
        return merge(found, k)

    def describe(self) -> IndexState:
        """What searches are made with now."""
        with self._lock:
            state, building = self._state, self._killed is not None
        if state is None:
            return IndexState(building=building)
        built = state.built
        return IndexState(
            kind=None if built is None else built.kind,
            built_items=0 if built is None else len(built),
            tail_items=len(state.tail),
            deleted_items=state.tail.deleted + (0 if built is None else built.deleted),
            building=building,
        )

    def wants_build(self) -> bool:
        """Whether nothing was read yet, or so much has changed that a new index should be built."""
        state = self._state
        if state is None:
            return True
        built, tail = state.built, state.tail
        total = 0 if built is None else len(built)
        if len(tail) > max(self._settings.tail_items, self._settings.tail_share * total):
            return True
        return built is not None and built.deleted > max(self._settings.tail_items, self._settings.dead_share * total)

    def maintain(self, stopped: Callable[[], bool]) -> None:
        """Read, build and save what is due; called by one thread at a time.

        Raises:
            BuildStoppedError: `stopped` said so; searches go on with what there was.
        """

        def ended() -> bool:
            return stopped() or self._retired

        try:
            while self.wants_build() and not ended():
                if self._state is None:
                    self.load()
                else:
                    self._build(ended)
                    self.save(at_least=_UNSAVED_SHARE)
        except Exception:
            self._not_before_s = time.monotonic() + _PAUSE_AFTER_FAILURE_S
            raise

    def save(self, at_least: float = 0.0) -> None:
        """Save the built index, if a larger share than this differs from the saved one. A flat one is not worth it."""
        state = self._state
        built = None if state is None else state.built
        if built is None or built.kind == "flat" or self._retired:
            return
        if len(np.setxor1d(built.ids, self._saved_ids, assume_unique=True)) <= at_least * len(built):
            return
        snapshot = Snapshot(built.kind, built.ids, built.index, built.trained_on, built.through)
        try:
            self._snapshots.save(snapshot)
            self._saved_ids = built.ids
        except Exception:
            if not self._retired:
                logger.exception("the index of %s could not be saved; it goes on in memory", self._spec.name)
        if self._retired:
            self._snapshots.remove()

    def retire(self) -> None:
        """The collection was dropped, or has a new index: build and save nothing more, and remove what was saved."""
        self._retired = True
        self._snapshots.remove()

    def _take(self, state: _State, ids: Ids, vectors: Matrix, removed: Ids) -> None:
        """Take over a commit; rows that were read from the database already are passed over."""
        new = ids > self._last_id
        if new.any():
            state.tail.append(ids[new], vectors[new])
            self._last_id = int(ids[-1])
        # Last, so that a search that goes on meanwhile finds an item that is replaced twice rather than not at all.
        if len(removed):
            if state.built is not None:
                state.built.kill(removed)
            state.tail.kill(removed)

    def _ready(self) -> _State:
        state = self._state
        if state is None:
            self.load()
            state = self._state
        if state is None:
            raise RuntimeError("loading left no state")
        return state

    def _ask_for_build(self) -> None:
        if self._killed is None and not self._retired and self.wants_build() and time.monotonic() >= self._not_before_s:
            self._wanted(self)

    def _read(self) -> _State:
        """The state from a saved index and the rows after it, or from all rows."""
        built = self._read_saved()
        after = 0 if built is None else built.through
        through = self._last_id = self._source.last_id()
        held = 0 if built is None else len(built) - built.deleted
        tail = Tail(self._spec.dimension, self._source.count() - held)
        for ids, vectors in self._source.chunks(after, through):
            tail.append(ids, vectors)
        return _State(built, tail)

    def _read_saved(self) -> BuiltIndex | None:
        snapshot = self._snapshots.load()
        if snapshot is None:
            return None
        live = self._source.live_ids(snapshot.through)
        if snapshot.through > self._source.last_id() or not np.isin(live, snapshot.ids, assume_unique=True).all():
            logger.warning("the saved index of %s lacks items, it is built anew", self._spec.name)
            return None
        built = self._built(snapshot.kind, snapshot.ids, snapshot.index, snapshot.trained_on)
        built.kill(np.setdiff1d(snapshot.ids, live, assume_unique=True))
        self._saved_ids = built.ids
        return built

    def _built(self, kind: IndexKind, ids: Ids, index: Any, trained_on: int) -> BuiltIndex:
        return BuiltIndex(
            kind=kind,
            ids=ids,
            index=index,
            metric=self._spec.metric,
            settings=self._spec.index,
            trained_on=trained_on,
            read_vectors=self._source.read,
            gpu=to_gpu(kind, index) if self._settings.use_gpu else None,
        )

    def _build(self, stopped: Callable[[], bool]) -> None:
        use_threads(self._settings.build_threads or usable_cpus())
        with self._lock:
            state = self._state
            if state is None:
                return
            through = self._last_id
            self._killed = []
        try:
            built = self._extended(state, through, stopped) or self._rebuilt(through, stopped)
            with self._lock:
                for removed in self._killed:
                    built.kill(removed)
                self._killed = None
                # Deletions of the build are marked in the old tail too, so its rest needs no second look.
                if self._state is state:
                    self._state = _State(built, state.tail.after(through))
        finally:
            with self._lock:
                self._killed = None

    def _extended(self, state: _State, through: int, stopped: Callable[[], bool]) -> BuiltIndex | None:
        """The built index and the tail, if that is the same kind of index and few of it are deleted."""
        old = state.built
        if old is None or old.deleted > self._settings.dead_share * len(old):
            return None
        ids, vectors = state.tail.alive_rows(through)
        items = len(old) - old.deleted + len(ids)
        if kind_to_build(self._spec.index, items) != old.kind:
            return None
        if old.kind == "ivf_pq" and items > _RETRAIN_FACTOR * old.trained_on:
            return None
        index = copy_index(old.index)
        added = fill_index(index, [(ids, vectors)], stopped)
        built = self._built(old.kind, np.concatenate([old.ids, added]), index, old.trained_on)
        with self._lock:
            built.kill(old.ids[~old.alive])
        return built

    def _rebuilt(self, through: int, stopped: Callable[[], bool]) -> BuiltIndex:
        """From the rows of the database, up to this id."""
        items = self._source.count()
        kind = kind_to_build(self._spec.index, items)
        index = empty_index(kind, self._spec.dimension, self._spec.metric, self._spec.index, items)
        wanted = examples_wanted(index)
        if wanted:
            index.train(self._examples(wanted, through))
        ids = fill_index(index, self._source.chunks(0, through), stopped)
        return self._built(kind, ids, index, len(ids))

    def _examples(self, wanted: int, through: int) -> Matrix:
        live = self._source.live_ids(through)
        if len(live) > wanted:
            live = np.sort(np.random.default_rng(0).choice(live, wanted, replace=False))
        parts = [self._source.read(live[start : start + 4096])[1] for start in range(0, len(live), 4096)]
        return np.concatenate(parts)
