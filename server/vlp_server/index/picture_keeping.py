"""Keeps pictures as long as items need them: written before the commit, removed after the last one goes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from vlp_server.index.pictures import Pictures


class PictureKeeper:
    """Guards against removing a picture that an upsert under way is about to refer to.

    Args:
        pictures: where they are.
        is_used: whether any committed item refers to the picture.
    """

    def __init__(self, pictures: Pictures, is_used: Callable[[str], bool]) -> None:
        self.pictures = pictures
        self._is_used = is_used
        self._lock = threading.Lock()
        self._wanted: Counter[str] = Counter()

    @contextmanager
    def kept(self, pictures: Mapping[str, bytes]) -> Iterator[None]:
        """Durable on entry, and not removed before exit.

        Raises:
            StorageFullError: the disk is full.
        """
        with self._lock:
            self._wanted.update(pictures.keys())
        try:
            self.pictures.put(pictures)
            yield
        finally:
            with self._lock:
                self._wanted.subtract(pictures.keys())
                self._wanted = +self._wanted

    def release(self, digests: Iterable[str]) -> None:
        """Remove those that nothing refers to any more."""
        for digest in digests:
            with self._lock:
                if self._wanted[digest] == 0 and not self._is_used(digest):
                    self.pictures.delete([digest])

    def sweep(self, older_than_s: float) -> int:
        """Remove what no item refers to: left by processes that were killed between picture and commit.

        Args:
            older_than_s: younger ones are left alone; other processes may be about to refer to them.

        Returns:
            How many were removed.
        """
        limit = time.time() - older_than_s
        self.pictures.remove_leftovers(older_than_s)
        removed = 0
        for digest, written_at in list(self.pictures.listed()):
            if written_at <= limit:
                with self._lock:
                    if self._wanted[digest] == 0 and not self._is_used(digest):
                        self.pictures.delete([digest])
                        removed += 1
        return removed
