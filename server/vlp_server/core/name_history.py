"""What the names of models have meant since they were switched: the way back."""

from __future__ import annotations

from typing import Generic, TypeVar

M = TypeVar("M")
# Of one name, the present meaning included.
_KEPT = 10


class NameHistory(Generic[M]):
    """Knows only names that were switched. Belongs to the event loop."""

    def __init__(self) -> None:
        self._meanings: dict[str, list[M]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._meanings

    def now(self, name: str) -> M | None:
        """What a name means now; None where it was not switched."""
        return self._meanings[name][-1] if name in self._meanings else None

    def before(self, name: str) -> M | None:
        """What it meant before; None where there is no way back."""
        meanings = self._meanings.get(name, [])
        return meanings[-2] if len(meanings) > 1 else None

    def switch(self, name: str, was: M | None, meaning: M) -> None:
        """Let a name mean something else from now on.

        Args:
            was: what it means so far, where it was never switched.
        """
        meanings = self._meanings.setdefault(name, [] if was is None else [was])
        if meanings[-1:] != [meaning]:
            meanings.append(meaning)
            del meanings[:-_KEPT]

    def back(self, name: str) -> None:
        """Let a name mean what `before` says. Raises KeyError or IndexError where it has no way back."""
        if len(self._meanings[name]) < 2:
            raise IndexError(name)
        self._meanings[name].pop()

    def replace(self, old: M, new: M) -> None:
        """Whatever meant the old one means the new one, or did."""
        for meanings in self._meanings.values():
            meanings[:] = [new if one is old else one for one in meanings]

    def forget(self, meaning: M) -> None:
        """Nothing means this any more, nor did it before."""
        for name, meanings in list(self._meanings.items()):
            left = [one for one in meanings if one is not meaning]
            left = [one for index, one in enumerate(left) if index == 0 or one is not left[index - 1]]
            if left:
                self._meanings[name] = left
            else:
                del self._meanings[name]
