"""A door that a process serves beside its HTTP door, in the same event loop."""

from __future__ import annotations

from typing import Protocol


class DoorBeside(Protocol):
    """Listens on an address of its own."""

    @property
    def host(self) -> str:
        """The address that is listened on."""

    @property
    def port(self) -> int:
        """Likewise; known once it has started."""

    async def start(self) -> None:
        """Listen and answer.

        Raises:
            ConfigError: the address cannot be listened on.
        """

    async def stop(self, grace_s: float) -> None:
        """Refuse new calls, let running ones end for so long, then cancel them. May be called twice."""
