"""Counting of records and pictures that cannot be read: a few are skipped, many end the run."""

from __future__ import annotations

import logging

from vlp_spec.errors import ArtifactError

logger = logging.getLogger(__name__)


class FaultCounter:
    """Skipped records of one split.

    Args:
        split: named in messages.
        max_share: share of faulty records, 0 to 1, above which `check` raises.
        max_lines: faults logged one by one; further ones are only counted.
    """

    def __init__(self, split: str, *, max_share: float = 0.01, max_lines: int = 20) -> None:
        self.split = split
        self.max_share = max_share
        self.max_lines = max_lines
        self.reasons: list[str] = []

    def note(self, place: str, error: Exception) -> None:
        """Count a record that is left out and say why."""
        self.reasons.append(f"{place}: {error}")
        if len(self.reasons) <= self.max_lines:
            logger.warning("%s: skipped %s: %s", self.split, place, error)

    def check(self, kept: int) -> None:
        """Log the total; raise when it is too much to be chance.

        Args:
            kept: records that were read.

        Raises:
            ArtifactError: nothing was read, or more than `max_share` of the records were faulty.
        """
        faults = len(self.reasons)
        if kept == 0:
            first = f"; the first fault: {self.reasons[0]}" if faults else ""
            raise ArtifactError(f"split {self.split!r}: no readable record ({faults} faulty){first}")
        if faults == 0:
            return
        share = faults / (kept + faults)
        message = f"split {self.split!r}: {faults} of {kept + faults} records skipped ({share:.2%})"
        if share > self.max_share:
            raise ArtifactError(
                f"{message}, at most {self.max_share:.0%} may be faulty; repair the data. First: {self.reasons[0]}"
            )
        logger.warning("%s", message)
