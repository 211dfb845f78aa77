"""What an image weighs, and what a running container may do."""

from __future__ import annotations

import json

from questions import QuestionError
from stack import run

_PROBE = """
import errno, importlib.util, json, os, sys
found = [name for name in sys.argv[1:] if importlib.util.find_spec(name) is not None]
try:
    open("/written", "w")
    root = "writable"
except OSError as error:
    root = errno.errorcode[error.errno]
effective = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff"))
print(json.dumps({"found": found, "uid": os.getuid(), "root": root, "capabilities": int(effective, 16)}))
"""
_USER = 10001


def look_at_image(name: str) -> str:
    """Its size, in words."""
    size = int(run("podman", "image", "inspect", "--format", "{{.Size}}", name))
    base = int(run("podman", "image", "inspect", "--format", "{{.Size}}", "python:3.11-slim-bookworm"))
    return f"{name}: {size / 1e6:.0f} MB, of which {(size - base) / 1e6:.0f} MB over its base image"


def look_at_rights(container: str, absent: tuple[str, ...]) -> str:
    """What a container has not and may not, in words.

    Raises:
        QuestionError: it runs as root or with capabilities, can write to its root, or has one of the packages.
    """
    seen = json.loads(run("podman", "exec", container, "python", "-c", _PROBE, *absent))
    if seen["found"]:
        raise QuestionError(f"{container} has {', '.join(seen['found'])}")
    if seen["uid"] != _USER or seen["root"] != "EROFS" or seen["capabilities"]:
        raise QuestionError(f"{container}: expected user {_USER}, no capabilities and a read-only root, got {seen}")
    return f"{container}: user {_USER}, no capabilities, root read-only, no {', '.join(absent)}"
