"""What a bulk run has done, on disk: one line of JSON an item, appended as soon as it is done.

A process that is killed loses no line that was written, and half a line at the end is cut off. (What a machine loses
with its power is done again.)
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vlp_client.errors import JournalError

try:
    import fcntl
except ImportError:  # a system without file locks of this kind
    fcntl = None  # type: ignore[assignment]

_FORMAT = "vlp_client_journal"
_VERSION = 1
_START_AGAIN = "name another file, or delete this one to do all of it again"


class Journal:
    """A journal of one kind of work; usable from several threads, by one run at a time.

    Args:
        path: made where there is none.
        work: what is done with each item: a journal of other work is refused.

    Raises:
        JournalError: the file is no journal, is of other work, or another run uses it.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, work: Mapping[str, Any]) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._places: dict[bytes, int] = {}
        self._model: str | None = None
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
        try:
            self._claim()
            self._read(dict(work))
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: str) -> Any | None:
        """The value of an item that is done; None where it is not.

        Args:
            key: digest in hex.
        """
        with self._lock:
            place = self._places.get(bytes.fromhex(key))
            if place is None:
                return None
            self._file.seek(place)
            return json.loads(_read_line(self._file))["value"]

    def put(self, key: str, model: str | None, value: Any) -> None:
        """Keep what was done.

        Args:
            key: digest in hex.
            model: name@version that did it; None where nothing had to be done.
            value: JSON.

        Raises:
            JournalError: the items before were done by another model.
            OSError: it cannot be written.
        """
        line = json.dumps({"key": key, "model": model, "value": value}, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            if None not in (model, self._model) and model != self._model:
                raise JournalError(f"{self._path}: written by {self._model}, now {model} answers; {_START_AGAIN}")
            self._model = self._model or model
            self._places[bytes.fromhex(key)] = self._append(line)

    def close(self) -> None:
        """Write it through to the disk, and let another run use it."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _claim(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise JournalError(f"{self._path}: another run uses it") from error

    def _read(self, work: dict[str, Any]) -> None:
        place = 0
        with self._path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n"):
                    break  # a process was killed while it wrote this
                self._read_line(number, line, place, work)
                place += len(line)
        self._file.truncate(place)
        if not place:
            self._append(json.dumps({_FORMAT: _VERSION, "work": work}).encode() + b"\n")

    def _read_line(self, number: int, line: bytes, place: int, work: dict[str, Any]) -> None:
        try:
            record = json.loads(line)
            if number > 1:
                self._places[bytes.fromhex(record["key"])] = place
                self._model = record["model"] or self._model
                return
            version, found = record[_FORMAT], record["work"]
        except (ValueError, KeyError, TypeError) as error:
            raise JournalError(f"{self._path}: line {number} is of no journal of this client") from error
        if version != _VERSION or found != work:
            raise JournalError(f"{self._path}: of other work ({found}, not {work}); {_START_AGAIN}")

    def _append(self, line: bytes) -> int:
        place = self._file.seek(0, os.SEEK_END)
        if self._file.write(line) != len(line):
            self._file.truncate(place)
            raise OSError(f"{self._path}: the disk took only a part of a line")
        return place


def _read_line(file: Any) -> bytes:
    """A line of an unbuffered file, in pieces of a page rather than of a byte."""
    pieces = []
    while True:
        piece = file.read(65536)
        head, newline, _ = piece.partition(b"\n")
        pieces.append(head)
        if newline or not piece:
            return b"".join(pieces)
