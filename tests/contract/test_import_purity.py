"""What an import brings in, seen by a fresh interpreter: serving needs no torch, and the SDK nothing of the server."""

from __future__ import annotations

import subprocess
import sys

import pytest

TRAINING_SIDE = {"torch", "transformers", "vlp_models", "vlp_export"}
CLIENT_MODULES = "vlp_client, vlp_client.aio.client, vlp_client.errors, vlp_client.pictures, vlp_client.records"


def packages_after(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter holds after running `code`."""
    code += "\nimport sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "modules",
    [
        "vlp_server.http.app, vlp_server.http.server, vlp_server.core.service, vlp_cli.serve",
        # The engine and the pipeline are lazy: a real model's are imported after the server's modules.
        "vlp_server.engines.onnx, vlp_pipeline.vilt_vqa",
    ],
)
def test_serving_holds_neither_torch_nor_transformers_nor_the_models_code(modules: str) -> None:
    loaded = packages_after(f"import {modules}")
    assert {name.strip().partition(".")[0] for name in modules.split(",")} <= loaded
    assert loaded & TRAINING_SIDE == set()


def test_the_client_imports_no_other_package_of_the_project() -> None:
    loaded = packages_after(f"import {CLIENT_MODULES}")
    assert {name for name in loaded if name.startswith("vlp_")} == {"vlp_client"}
