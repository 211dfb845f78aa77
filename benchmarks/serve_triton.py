"""The same models embedded, behind gateway and Triton, and on Triton alone: requests a second, p50 and p99.

Two models: the shipped scenes-vilt-vqa, and ViLT-B/32 at full size with random weights. Clients of the first two send
pictures of their own over HTTP, so no cache answers; Triton alone is asked by NVIDIA's perf_analyzer for the graph,
with arrays that are prepared already. Rounds alternate between the systems; medians are printed. Everything runs on the
machine's cores: server, Triton and clients share them.

Needs `make .venv-triton/.built`, and perf_analyzer from the wheel tritonclient 2.50.0 (its path by --perf-analyzer).

Usage: python benchmarks/serve_triton.py --perf-analyzer PATH [--threads 2] [--rounds 3] [--requests 24] [--out FILE]
"""

from __future__ import annotations

import argparse
import base64
import csv
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from serve_vilt import question, write_transformers_checkpoint
from serving_bench import Server, free_port, picture, start_ours, tell
from vlp_spec.found_deployment import find_deployment
from vlp_zoo import zoo_path

CLIENTS = (1, 8)
TRITON = Path(__file__).parents[1] / ".venv-triton" / "bin" / "vlpserve"
SHIPPED_FACTOR = 20  # the small model answers so many times faster
Figures = dict[str, float]
_WINDOWS = 3  # perf_analyzer measures no fewer
_COLUMNS = (("Inferences/Second", 1.0), ("p50 latency", 1e6), ("p99 latency", 1e6))


class HttpAsk:
    """Asks with connections that stay open, as a client of a service does."""

    def __init__(self) -> None:
        self._http = httpx.Client(timeout=120, limits=httpx.Limits(max_connections=64), trust_env=False)

    def __call__(self, url: str, seed: int) -> str:
        files, data = {"image": picture(seed)}, {"question": question(seed)}
        response = self._http.post(f"{url}/v1/vqa", files=files, data=data)
        response.raise_for_status()
        return str(response.json()["answers"][0]["answer"])


class TritonServer:
    """A tritonserver over a repository."""

    def __init__(self, repository: Path, log: Path) -> None:
        self.grpc, http = free_port(), free_port()
        ports = [f"--http-port={http}", f"--grpc-port={self.grpc}", f"--metrics-port={free_port()}"]
        with log.open("wb") as stream:
            self.process = subprocess.Popen([TRITON, "triton", repository, *ports], stdout=stream, stderr=stream)
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{http}/v2/health/ready", trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                if self.process.poll() is not None:
                    raise RuntimeError(log.read_text()[-3000:]) from None
            time.sleep(0.2)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def timed(server: Server, clients: int, requests: int) -> Figures:
    """Closed load: every client asks again as soon as it has its answer."""

    def ask(seed: int) -> float:
        started = time.perf_counter()
        server.ask(seed)
        return time.perf_counter() - started

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(ask, range(clients)))
        started = time.perf_counter()
        seconds = list(pool.map(ask, range(100, 100 + requests)))
        whole = time.perf_counter() - started
    return figures(requests / whole, float(np.percentile(seconds, 50)), float(np.percentile(seconds, 99)))


def figures(per_s: float, p50_s: float, p99_s: float) -> Figures:
    return {"requests_per_s": per_s, "p50_ms": p50_s * 1000, "p99_ms": p99_s * 1000}


def perf_analyzer(binary: Path, server: TritonServer, graph: str, data: Path, clients: int, requests: int) -> Figures:
    """NVIDIA's own load generator on one graph."""
    table = data.with_suffix(".csv")
    command = [binary, "-m", graph, "-i", "grpc", "-u", f"127.0.0.1:{server.grpc}", "--input-data", data]
    command += ["--concurrency-range", clients, "--measurement-mode", "count_windows", "-s", 999, "-r", _WINDOWS]
    command += ["--measurement-request-count", -(-requests // _WINDOWS), "-f", table]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600)
    if not table.is_file():
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    with table.open() as stream:
        row = next(csv.DictReader(stream))
    return figures(*(float(row[name]) / scale for name, scale in _COLUMNS))


def write_graph_inputs(repository: Path, model: str, target: Path) -> str:
    """A row of the canary as perf_analyzer reads it; the graph's name."""
    found = find_deployment(repository, model)
    graph = found.deployment.graph("fusion")
    with np.load(found.assets_dir / "canary.npz", allow_pickle=False) as arrays:
        rows = {spec.name: np.ascontiguousarray(arrays[f"input.{spec.name}"][0]) for spec in graph.inputs}
    content = {
        name: {"content": {"b64": base64.b64encode(row.tobytes()).decode()}, "shape": list(row.shape)}
        for name, row in rows.items()
    }
    target.write_text(json.dumps({"data": [content]}))
    return graph.name


def measure_model(folder: Path, repository: Path, model: str, given: argparse.Namespace, requests: int) -> object:
    """Medians of all rounds, by system and number of clients."""
    on_triton, data = folder / f"triton-{model}", folder / f"{model}.json"
    command = [TRITON, "triton-repository", on_triton, "--repository", repository, "--model", model]
    subprocess.run([*command, "--threads", str(given.threads)], check=True, stdout=subprocess.DEVNULL)
    graph = write_graph_inputs(repository, model, data)
    found: dict[str, dict[int, list[Figures]]] = {}

    def note(system: str, run: Callable[[int], Figures]) -> None:
        for clients in CLIENTS:
            found.setdefault(system, {}).setdefault(clients, []).append(run(clients))

    log = {"VLPSERVE_COLLECTIONS_ENABLED": "false"}
    for _ in range(given.rounds):
        server = start_ours("embedded", model, repository, HttpAsk(), given.threads, **log)
        note("embedded", lambda clients, server=server: timed(server, clients, requests))
        server.stop()
        triton = TritonServer(on_triton, folder / "triton.log")
        settings = {"VLPSERVE_ENGINE_ENGINE": "triton", "VLPSERVE_ENGINE_TRITON_URLS": f"127.0.0.1:{triton.grpc}"}
        server = start_ours("gateway", model, on_triton, HttpAsk(), given.threads, **log, **settings)
        note("gateway and Triton", lambda clients, server=server: timed(server, clients, requests))
        server.stop()
        note(
            "Triton alone",
            lambda clients, triton=triton: perf_analyzer(given.perf_analyzer, triton, graph, data, clients, requests),
        )
        triton.stop()
    return {
        system: {
            str(clients): {name: round(statistics.median(one[name] for one in rounds), 2) for name in rounds[0]}
            for clients, rounds in own.items()
        }
        for system, own in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--perf-analyzer", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=24)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        checkpoint, repository = folder / "vilt-b32-random", folder / "repository"
        write_transformers_checkpoint(checkpoint)
        command = [sys.executable, "-m", "vlp_cli", "export", checkpoint, "--repository", repository, "--name", "vilt"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        shipped = Path(shutil.copytree(zoo_path() / "repository", folder / "shipped"))
        result = {
            "scenes-vilt-vqa": measure_model(
                folder, shipped, "scenes-vilt-vqa", given, given.requests * SHIPPED_FACTOR
            ),
            "ViLT-B/32, 384 pixels": measure_model(folder, repository, "vilt", given, given.requests),
            "threads": given.threads,
            "rounds": given.rounds,
            "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
        }
    tell(result, given.out)


if __name__ == "__main__":
    main()
