"""Faults as the protocol answers them: a status, and the trailing metadata that says the rest."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from urllib.parse import quote

from grpc import StatusCode
from vlp_spec.errors import CapacityError, ErrorKind, InternalError, InvalidArgumentError, StartupError, VlpError

from vlp_server.intake.grpc_codes import STATUS

KIND_KEY = "error-kind"
FIELD_KEY = "error-field"
RETRY_AFTER_KEY = "retry-after-s"
# A status travels in a header, where a byte that is not printable ASCII takes three; clients read 8 KiB by default.
_MESSAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault, ready to be sent.

    Attributes:
        kind: stable name; a client rebuilds its error from it.
        message: for the caller: what, got, expected, what to do.
        field: the field at fault, where there is one.
        retry_after_s: when it may be worth to try again.
    """

    kind: ErrorKind
    message: str
    field: str | None = None
    retry_after_s: float | None = None

    @property
    def status(self) -> StatusCode:
        """GRPC's status of the kind."""
        return STATUS[self.kind]

    @property
    def details(self) -> str:
        """The message as a status can carry it."""
        text = self.message.encode("utf-8", "replace").decode()
        sizes = accumulate(1 if " " <= char <= "~" else 3 * len(char.encode()) for char in text)
        fits = sum(size <= _MESSAGE_BYTES for size in sizes)
        return text if fits == len(text) else f"{text[:fits]}..."

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a status has no place for; the field in ASCII, as in a URL."""
        entries = [(KIND_KEY, str(self.kind))]
        if self.field is not None:
            entries.append((FIELD_KEY, quote(self.field[:200], safe="[]. ")))
        if self.retry_after_s is not None:
            entries.append((RETRY_AFTER_KEY, f"{self.retry_after_s:g}"))
        return tuple(entries)


def fault_of(error: VlpError) -> Fault:
    """The fault that an error of the tree is. `detail` (the private text) never goes in."""
    if isinstance(error, StartupError) or error.kind not in STATUS:
        error = InternalError(detail=str(error))
    return Fault(
        kind=error.kind,
        message=error.message,
        field=error.field if isinstance(error, InvalidArgumentError) else None,
        retry_after_s=error.retry_after_s if isinstance(error, CapacityError) else None,
    )
