"""The id of a request: its caller's, or a new one."""

from __future__ import annotations

import re
import uuid

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def request_id_of(given: str) -> str:
    """What the caller sent where it can stand in a log and in a header, else a new id."""
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex
