"""Who may ask: the settings of API keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from vlp_spec.errors import ConfigError

from vlp_server.access.keys import KeyEntry, parse_keys
from vlp_server.access.quota import Quota, quota_faults


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessConfig:
    """API keys. Where none are set, everybody who reaches the server may ask it. And how much a caller may ask.

    A cost is what the queues count: text tokens + patches of 32 x 32 pixels, told from the fields of a request.

    Attributes:
        keys_file: file of keys, one NAME:ROLE:SHA256 a line, as `vlpserve keys new` writes them; # begins a comment. It
            is read again when it changes. One that other users may write is refused.
        keys: further keys, NAME:ROLE:SHA256 each; ROLE is read, write or admin.
        open_metrics: whether /metrics answers without a key, but for the figures that name keys; false: it needs one
            that may read.
        rate: cost a second that a key may ask, unless its own line says otherwise, and that all callers without a key
            may ask together; 0: no bound. Each server process counts for itself.
        burst: cost that may be asked at once after a silence; 0: ten seconds of the rate.
        concurrency: cost that may be under way at a time, likewise; 0: no bound.
    """

    keys_file: Path | None = None
    keys: tuple[str, ...] = field(default=(), repr=False)
    open_metrics: bool = True
    rate: float = 0.0
    burst: float = 0.0
    concurrency: float = 0.0

    def __post_init__(self) -> None:
        faults = quota_faults(self.quota)
        try:
            parse_keys(KeyEntry(f"keys: entry {number}", text) for number, text in enumerate(self.keys, 1))
        except ConfigError as error:
            faults += error.faults
        if faults:
            raise ConfigError(faults)

    @property
    def quota(self) -> Quota:
        """Of keys without one of their own, and of all callers without a key together."""
        return Quota(rate=self.rate, burst=self.burst, concurrency=self.concurrency)

    @property
    def asks_for_keys(self) -> bool:
        """Whether a key is needed at all."""
        return self.keys_file is not None or bool(self.keys)
