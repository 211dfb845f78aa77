"""vlp_client/aio -> vlp_client/sync: the blocking twin is the asynchronous one without `await`.

Every verb is written once, in `aio`. What differs by nature (tasks there, threads here) is written by hand
in both; `tests/unit/vlp_client/test_twins.py` proves the rest current, and that both have the same verbs.

Usage: python clients/python/write_sync_client.py
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent / "vlp_client"
WRITTEN_BY_HAND = ("grpc_calls.py", "pool.py")
_HEAD = "# Made from vlp_client/aio/{name} by clients/python/write_sync_client.py: change it there.\n"
_RULES: tuple[tuple[str, str], ...] = (
    (r"\bvlp_client\.aio\b", "vlp_client.sync"),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"\bAwaitable, ", ""),
    (r"\bAsyncGenerator\b", "Generator"),
    (r"\bStopAsyncIteration\b", "StopIteration"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\basync (?=def|for|with)", ""),
    (r"\bawait ", ""),
    (r"\b__a(iter|next|enter|exit)__", r"__\1__"),
    (r"\ba(close|read|iter_lines|iter_bytes)\b", r"\1"),
    (r"\bimport asyncio\b", "import time"),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\bfor many tasks of one event loop at once\b", "usable from several threads"),
)


def blocking(name: str, source: str) -> str:
    """The blocking twin of a module, formatted as ruff does.

    Raises:
        subprocess.CalledProcessError: the outcome is no Python.
    """
    for pattern, replacement in _RULES:
        source = re.sub(pattern, replacement, source)
    # Shorter names sort elsewhere, and shorter lines fold.
    path = str(PACKAGE / "sync" / name)
    for command in (["check", "--quiet", "--select", "I", "--fix", "--no-cache"], ["format", "--quiet", "--no-cache"]):
        run = [sys.executable, "-m", "ruff", *command, "--stdin-filename", path, "-"]
        source = subprocess.run(run, input=source, capture_output=True, text=True, check=True).stdout
    return _HEAD.format(name=name) + source


def twins() -> dict[Path, str]:
    """Every module of the blocking twin that is made, with its text."""
    sources = sorted((PACKAGE / "aio").glob("*.py"))
    return {
        PACKAGE / "sync" / path.name: blocking(path.name, path.read_text(encoding="utf-8"))
        for path in sources
        if path.name not in WRITTEN_BY_HAND
    }


if __name__ == "__main__":
    for target, text in twins().items():
        target.write_text(text, encoding="utf-8")
