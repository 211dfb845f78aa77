"""How locust is started. It patches the whole process for gevent, so it has one of its own."""

from __future__ import annotations

import sys
from pathlib import Path


def locust_command() -> list[str]:
    """The command line, to which options may be added."""
    # The entry has a folder of its own, because locust puts that folder on the path.
    entry = Path(__file__).parent / "entry" / "locustfile.py"
    return [sys.executable, "-m", "locust", "--locustfile", str(entry), "--headless", "--only-summary"]
