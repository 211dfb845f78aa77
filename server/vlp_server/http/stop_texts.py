"""Ends a text before the first of some others that it holds, also while it is still growing."""

from __future__ import annotations

from collections.abc import Sequence


class StopTexts:
    """One growing text.

    Args:
        stops: none of them empty.
        skip: so many characters at its beginning are the caller's own, and end nothing.
    """

    def __init__(self, stops: Sequence[str], skip: int = 0) -> None:
        self._stops = stops
        self._skip = skip
        self._held = ""
        self.stopped = False
        """Whether one of them was met."""

    def add(self, piece: str) -> str:
        """What can be shown after a further piece: not what a stop may begin with."""
        if self.stopped:
            return ""
        own, piece = piece[: self._skip], piece[self._skip :]
        self._skip -= len(own)
        text = self._held + piece
        # The one that is complete first, as if the text grew letter by letter; of two the longer.
        found = [(begin + len(stop), begin) for stop in self._stops if (begin := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return own + text[: min(found)[1]]
        keep = self._undecided(text)
        shown, self._held = text[: len(text) - keep], text[len(text) - keep :]
        return own + shown

    def rest(self) -> str:
        """What was held back, once nothing more follows."""
        rest, self._held = self._held, ""
        return rest

    def whole(self, text: str) -> str:
        """As much of a whole text as can be shown."""
        return self.add(text) + self.rest()

    def _undecided(self, text: str) -> int:
        """Characters at the end that a stop may begin with."""
        longest = max(map(len, self._stops), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self._stops):
                return length
        return 0
