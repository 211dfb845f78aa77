"""How long a full-size ViLT-B/32 takes to export and prove, and how much memory: the whole command, from its start.

Usage: python benchmarks/export_full_size.py [--precision fp32] [--keep DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from full_size_checkpoint import write_full_size_checkpoint


def measure(precision: str, root: Path) -> dict[str, object]:
    checkpoint = root / "vilt-b32-random"
    if not checkpoint.exists():
        write_full_size_checkpoint(checkpoint)
    command = [sys.executable, "-m", "vlp_cli", "export", str(checkpoint), "--repository", str(root / "repository")]
    # Random weights give near ties everywhere: the agreement is reported and bounds nothing.
    command += ["--precision", precision, "--min-agreement", "0"] if precision != "fp32" else []
    started = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - started
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    (graph,) = (root / "repository" / "model_repository").glob(f"*-{precision}/*/model.onnx")
    return {
        "precision": precision,
        "seconds": round(seconds, 1),
        "peak_gib": round(peak_kib / 2**20, 2),
        "graph_mib": round(graph.stat().st_size / 2**20, 1),
        "cores": os.cpu_count(),
        "output": done.stdout.splitlines(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", choices=["fp32", "int8"], default="fp32")
    parser.add_argument("--keep", type=Path, help="Folder for checkpoint and repository; default a temporary one.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.keep or Path(scratch)
        root.mkdir(parents=True, exist_ok=True)
        print(json.dumps(measure(arguments.precision, root), indent=1))


if __name__ == "__main__":
    main()
