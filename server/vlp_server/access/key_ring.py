"""The keys in force: those of the settings and those of the keys file, which is read again when it changes."""

from __future__ import annotations

import hmac
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vlp_spec.errors import ConfigError

from vlp_server.access.keys import AccessKey, KeyEntry, key_digest, parse_keys
from vlp_server.access.keys_file import read_entries

logger = logging.getLogger(__name__)

LOOK_S = 1.0
_State = tuple[int, ...] | None


class KeyRing:
    """Finds the key that a caller sent. Used from one thread.

    Args:
        written: keys of the settings, NAME:ROLE:SHA256 each.
        file: a keys file, None where there is none.
        now: seconds of a clock that never goes back.

    Raises:
        ConfigError: every fault of both.
    """

    def __init__(self, written: Sequence[str], file: Path | None, *, now: Callable[[], float] = time.monotonic) -> None:
        self._written = [KeyEntry(f"access.keys: entry {number}", text) for number, text in enumerate(written, 1)]
        self._file = file
        self._now = now
        self._state = _state_of(file)
        self._looked = now()
        self._keys = self._read()
        if not self._keys:
            logger.warning("%s holds no key: nobody can ask this server anything", file)

    def find(self, sent: bytes) -> AccessKey | None:
        """The key that was sent, None where nobody has it.

        A key that was taken out of the file is known for a second more at most.
        """
        self._look()
        digest = key_digest(sent)
        found = None
        # All are compared, each in constant time: how long it takes says nothing of any of them.
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def _look(self) -> None:
        """Read the file again where it is another one than before, looking once a second at most."""
        if self._file is None or self._now() - self._looked < LOOK_S:
            return
        self._looked = self._now()
        state = _state_of(self._file)
        if state == self._state:
            return
        self._state = state
        try:
            self._keys = self._read()
        except ConfigError as error:
            logger.error("the keys stay as they were, because their file is now at fault:\n%s", error)
            return
        logger.info("%s was read again: %d keys", self._file, len(self._keys))

    def _read(self) -> tuple[AccessKey, ...]:
        entries = () if self._file is None else read_entries(self._file)
        return parse_keys([*self._written, *entries])


def _state_of(file: Path | None) -> _State:
    """What changes with a file's content, owner or rights, or with another file in its place; None without a file."""
    if file is None:
        return None
    try:
        state = os.stat(file)
    except OSError:
        return None
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
