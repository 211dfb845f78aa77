"""The shipped models under the load test: requests of every task become due at some rates, whatever the server does.

A collection of pictures is made first, so that there is something to be searched. Every rate runs twice: with pictures
that come again with Zipf's skew, and with a new one each time, so that no cache answers.

Usage: python benchmarks/load_test.py [--rates 10 20 40] [--run-time 60s] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from serving_bench import serving, tell

SAMPLES = Path(__file__).parents[1] / "models" / "zoo" / "vlp_zoo" / "samples"
COMMAND = [sys.executable, "-m", "vlp_cli"]
KINDS = {"repeated": "500", "new": "0"}
KEPT = ("requests", "ok", "failed", "shed", "unanswered", "rate_per_s", "latency_ms", "service_ms")


def run(url: str, folder: Path, rate: float, pictures: str, run_time: str) -> dict[str, Any]:
    report = folder / "report.json"
    options = ["--rate", str(rate), "--pictures", pictures, "--run-time", run_time, "--seed", "1"]
    command = [*COMMAND, "loadtest", "--url", url, *options, "--report-json", str(report), "--max-error-share", "1"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    found = json.loads(report.read_text())
    tasks = {name: {key: row[key] for key in ("requests", "latency_ms")} for name, row in found["tasks"].items()}
    return {key: found["total"][key] for key in KEPT} | {"client": found["client"], "tasks": tasks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", type=float, nargs="+", default=[10, 20, 40])
    parser.add_argument("--run-time", default="60s")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        with serving(folder, VLPSERVE_COLLECTIONS_PLACE=str(folder / "collections")) as server:
            url = server.url()
            subprocess.run([*COMMAND, "index", "samples", str(SAMPLES), "--url", url], check=True)
            rates = {
                f"{rate:g}": {
                    name: run(url, folder, rate, pictures, arguments.run_time) for name, pictures in KINDS.items()
                }
                for rate in arguments.rates
            }
    result = {
        "rates": rates,
        "run_time": arguments.run_time,
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "load_average": os.getloadavg()},
    }
    tell(result, arguments.out)


if __name__ == "__main__":
    main()
