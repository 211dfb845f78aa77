from __future__ import annotations

import subprocess
import sys


def test_importing_the_client_brings_in_nothing_heavy() -> None:
    code = "import sys, vlp_client; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "vlp_client" in loaded
    heavy = {"PIL", "numpy", "torch", "fastapi", "pydantic", "vlp_server", "vlp_spec", "vlp_pipeline", "onnxruntime"}
    assert loaded & heavy == set()
