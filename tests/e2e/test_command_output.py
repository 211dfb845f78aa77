"""What only a real process shows: its exit code when the reader leaves, and a terminal's Ctrl-C."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

from server_process import ServerProcess

COMMAND = [sys.executable, "-m", "vlp_cli"]


def test_a_reader_that_leaves_is_met_with_silence(dummy_server: ServerProcess) -> None:
    process = subprocess.Popen(
        [*COMMAND, "models", "--url", dummy_server.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), said) == (141, b"")


def test_ctrl_c_while_a_server_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        process = subprocess.Popen([*COMMAND, "models", "--url", url], stderr=subprocess.PIPE, text=True)
        with silent.accept()[0]:  # it has asked
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "Error: interrupted\n")
