"""Who may ask: the settings of API keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vlp_server.access.keys import KeyEntry, parse_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessConfig:
    """API keys. Where none are set, everybody who reaches the server may ask it.

    Attributes:
        keys_file: file of keys, one NAME:ROLE:SHA256 a line, as `vlpserve keys new` writes them; # begins a comment. It
            is read again when it changes. One that other users may write is refused.
        keys: further keys, NAME:ROLE:SHA256 each; ROLE is read, write or admin.
        open_metrics: whether /metrics answers without a key; false: it needs one that may read.
    """

    keys_file: Path | None = None
    keys: tuple[str, ...] = field(default=(), repr=False)
    open_metrics: bool = True

    def __post_init__(self) -> None:
        parse_keys(KeyEntry(f"keys: entry {number}", text) for number, text in enumerate(self.keys, 1))

    @property
    def asks_for_keys(self) -> bool:
        """Whether a key is needed at all."""
        return self.keys_file is not None or bool(self.keys)
