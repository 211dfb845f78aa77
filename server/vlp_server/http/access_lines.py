"""Where the lines of the access log go: a handler that never waits for a disk, and a thread that writes.

A file may be moved away by whatever rotates logs: before each write the thread looks whether the file of this name is
still the one that it has open, and opens it anew if not. No signal is needed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

logger = logging.getLogger(__name__)

STANDARD_OUTPUT = Path("-")
_MAX_WAITING = 20_000
_CLOSE_S = 5.0
# Read by whoever collects logs, if the owner gives it to their group; of addresses others need not know.
_MODE = 0o640

Write = Callable[[str], None]


class AccessLines(logging.Handler):
    """One JSON object a line. Lines that come faster than they can be written are dropped, and how many is told.

    Args:
        file: written to; "-": standard output; None: standard error.
        max_waiting: lines that wait to be written.
    """

    def __init__(self, file: Path | None, *, max_waiting: int = _MAX_WAITING) -> None:
        super().__init__()
        self._write: Write
        if file is None:
            self._write = _to_stream(sys.stderr)
        elif file == STANDARD_OUTPUT:
            self._write = _to_stream(sys.stdout)
        else:
            self._write = WatchedFile(file).write
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(max_waiting)
        self._dropped = 0
        self._failed = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line; returns at once."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        try:
            self._waiting.put_nowait({"time": time, **(getattr(record, "fields", None) or {})})
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write what waits, for a few seconds at most."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(queue.Full):
                self._waiting.put(None, timeout=_CLOSE_S)
            self._thread.join(_CLOSE_S)
        super().close()

    def _run(self) -> None:
        ended = False
        while not ended:
            lines = [self._waiting.get()]
            with contextlib.suppress(queue.Empty):
                while len(lines) < _MAX_WAITING:
                    lines.append(self._waiting.get_nowait())
            ended = None in lines
            self._write_all([line for line in lines if line is not None])

    def _write_all(self, lines: list[dict[str, Any]]) -> None:
        if dropped := self._dropped:
            self._dropped -= dropped
            logger.warning("%d lines of the access log were dropped: they came faster than they were written", dropped)
        # Escaped to ASCII: no character of a caller's is taken for a line's end or moves a terminal's cursor.
        text = "".join(json.dumps(line, default=str) + "\n" for line in lines)
        try:
            self._write(text)
            self._failed = False
        except (OSError, ValueError) as error:
            # Once, not for every line: the full disk may be that of the log, too.
            if not self._failed:
                logger.error("the access log cannot be written (%s); its lines are lost until it can", error)
            self._failed = True


class WatchedFile:
    """A file that is opened anew when another one, or none, has its name.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = self._open()

    def write(self, text: str) -> None:
        """Append.

        Raises:
            OSError: it cannot be opened or written.
        """
        if not self._is_same():
            old, self._handle = self._handle, self._open()
            os.close(old)
        data = text.encode("ascii")
        while data:
            data = data[os.write(self._handle, data) :]

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)

    def _is_same(self) -> bool:
        try:
            there, mine = os.stat(self._path), os.fstat(self._handle)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def _to_stream(stream: TextIO) -> Write:
    def write(text: str) -> None:
        stream.write(text)
        stream.flush()

    return write
