"""How far a bulk run is, for people: tqdm's bar where it is installed, else a line of our own."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, Protocol, TextIO

_EVERY_S = 0.1


class Progress(Protocol):
    """Told what is done."""

    def update(self, count: int) -> object:
        """So many more items are done with."""

    def close(self) -> object:
        """There are no more."""


def open_progress(wish: bool | Callable[[int], object], total: int | None, label: str) -> Progress:
    """What shows how far a run is.

    Args:
        wish: True for a bar; a function that is told of every step; False for nothing.
        total: items; None where that is not known.
        label: before the bar.
    """
    if callable(wish):
        return _Told(wish)
    if not wish:
        return _Told(lambda count: None)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a notebook has no widgets: the bar is then of text
            from tqdm.auto import tqdm
    except ImportError:
        return TextBar(total, label, sys.stderr)
    bar: Any = tqdm(total=total, desc=label, unit="item")
    return bar  # type: ignore[no-any-return]


class _Told:
    def __init__(self, tell: Callable[[int], object]) -> None:
        self.update = tell

    def close(self) -> None:
        """Nothing is open."""


class TextBar:
    """One line that is written anew; on what is neither a terminal nor a notebook once, at the end.

    Args:
        total: items; None where that is not known.
        label: before the numbers.
        stream: where to.
        clock: -> seconds.
    """

    def __init__(
        self, total: int | None, label: str, stream: TextIO, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._label, self._stream, self._clock = total, label, stream, clock
        self._started = self._shown = clock()
        self._done = 0
        self._is_live = stream.isatty() or "ipykernel" in sys.modules

    def update(self, count: int) -> None:
        """So many more items are done with."""
        self._done += count
        now = self._clock()
        if self._is_live and now - self._shown >= _EVERY_S:
            self._shown = now
            self._stream.write(f"\r{self.line(now)}")
            self._stream.flush()

    def close(self) -> None:
        """Show where it ended."""
        self._stream.write(f"{chr(13) if self._is_live else ''}{self.line(self._clock())}\n")
        self._stream.flush()

    def line(self, now: float) -> str:
        """The line as it is at a time."""
        rate = self._done / max(now - self._started, 1e-9)
        if self._total is None:
            return f"{self._label}: {self._done}, {rate:.1f}/s"
        share = f"{self._done}/{self._total} ({100 * self._done // max(self._total, 1)}%)"
        if self._done >= self._total or not rate:
            return f"{self._label}: {share}, {rate:.1f}/s"
        left_s = round((self._total - self._done) / rate)
        return f"{self._label}: {share}, {rate:.1f}/s, {left_s // 60}:{left_s % 60:02} left"
