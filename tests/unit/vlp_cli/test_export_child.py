from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

_PARENT = """
import importlib.util
from pathlib import Path
from vlp_cli import export_child

export_child.importlib.util.find_spec = lambda name: object()
export_child._MODULE = "sleeping_export"
export_child.export_checkpoint("someone/vilt", "vilt", Path("store"))
"""
_CHILD = """
import sys, time
print("child is there", file=sys.stderr, flush=True)
time.sleep(60)
"""
# Nothing but Linux tells a child of its parent's sudden end.
_SIGNALS = [signal.SIGTERM, signal.SIGKILL] if sys.platform == "linux" else [signal.SIGTERM]


@pytest.mark.parametrize("number", _SIGNALS)
def test_the_export_ends_with_the_server_that_wanted_it(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "sleeping_export.py").write_text(_CHILD)
    server = subprocess.Popen(
        [sys.executable, "-c", _PARENT],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    while "child is there" not in (line := server.stderr.readline()):
        assert line, "the child did not start"
    server.send_signal(number)
    # The pipe ends when the last process that writes to it has ended, which is the child.
    _, told = server.communicate(timeout=20)
    assert told == ""
    assert server.returncode == (128 + number if number == signal.SIGTERM else -number)
