"""A folder with an LMDB, read key by key. The library is an optional dependency, imported when a file is opened.

LMDB believes the pages of its file: one that was built to harm can end the process. A file that was cut short, or is no
LMDB, is refused; open others only from where you would also take weights.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from vlp_spec.errors import ArtifactError, ConfigError, TooLargeError

_DATA = "data.mdb"
# LMDB's own limit for keys.
_MAX_KEY_BYTES = 511


def load_optional(name: str, what: str) -> ModuleType:
    """Import a library that only some data needs.

    Args:
        name: of the module.
        what: it is needed for.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ConfigError([f"{what}: {package} cannot be imported ({error}); install vlpserve[lmdb]"]) from error


def is_lmdb(folder: Path) -> bool:
    """Whether a folder holds the data file of an LMDB."""
    return (folder / _DATA).is_file()


class LmdbFile:
    """An LMDB opened for reading, without a lock file; a process can open it once at a time. Any thread may read.

    Args:
        folder: it holds data.mdb.
        max_value_bytes: of a value.

    Raises:
        ArtifactError: not there, no LMDB, cut short, or open already.
        ConfigError: the library is not installed.
    """

    def __init__(self, folder: Path, max_value_bytes: int) -> None:
        self.folder, self._max_value_bytes = folder, max_value_bytes
        lmdb = load_optional("lmdb", f"{folder}")
        if not is_lmdb(folder):
            raise ArtifactError(f"{folder}: no LMDB in it ({_DATA})")
        self._error: type[Exception] = lmdb.Error
        try:
            self._environment: Any = lmdb.open(
                str(folder), readonly=True, create=False, lock=False, readahead=False, max_spare_txns=4
            )
        except lmdb.Error as error:
            raise ArtifactError(f"{folder}: cannot be opened as an LMDB ({error})") from error
        needed = (self._environment.info()["last_pgno"] + 1) * self._environment.stat()["psize"]
        found = (folder / _DATA).stat().st_size
        if found < needed:
            self._environment.close()
            raise ArtifactError(f"{folder / _DATA}: {found} bytes, its pages need {needed}; cut short?")

    def get(self, key: str) -> bytes | None:
        """The value of a key; None where there is none.

        Raises:
            TooLargeError: the value is larger than `max_value_bytes`.
            ArtifactError: the file is damaged.
        """
        raw = key.encode("utf-8", errors="replace")
        if not 0 < len(raw) <= _MAX_KEY_BYTES:
            return None
        try:
            with self._environment.begin(buffers=True) as transaction:
                value = transaction.get(raw)
                if value is not None and len(value) > self._max_value_bytes:
                    raise TooLargeError(
                        f"{self.folder}: {key!r:.80} has {len(value)} bytes, at most {self._max_value_bytes} are read"
                    )
                return None if value is None else bytes(value)
        except self._error as error:
            raise ArtifactError(f"{self.folder}: {key!r:.80} cannot be read ({error})") from error

    def close(self) -> None:
        """Close it; it can then be opened again."""
        self._environment.close()
