"""Keeps a second process out of a local store: its indexes and its picture keeping belong to one."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from vlp_spec.errors import ConfigError


class ProcessLock:
    """An advisory lock on a file; the system lets go of it when the process ends, however it ends.

    Raises:
        ConfigError: another process holds it.
    """

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._handle, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._handle)
            raise ConfigError(
                [
                    f"store: {path.parent} is in use by process {holder}; local collections belong to one process: "
                    "give this one a place of its own (collections.place), or several the Milvus store"
                ]
            ) from None
        os.ftruncate(self._handle, 0)
        os.write(self._handle, str(os.getpid()).encode())

    def release(self) -> None:
        """Let go; may be called twice."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
