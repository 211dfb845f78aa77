"""Every benchmark, one after the other; what each prints is its result.

Usage: python benchmarks/run_all.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = (
    "agreement.py",
    "export_full_size.py",
    "serve_vilt.py",
    "serve_blip.py",
    "generation_agreement.py",
    "embed_images.py",
    "sdk.py",
    "doors.py",
    "visual_embedders.py",
    "index_search.py",
)


def main() -> None:
    for script in SCRIPTS:
        print(f"== {script}", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).with_name(script))], check=True)


if __name__ == "__main__":
    main()
