"""What the benchmarks of serving share: made-up pictures, server processes, and clients that wait for their answers."""

from __future__ import annotations

import argparse
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

Ask = Callable[[str, int], str]
"""Asks a server by its address about picture number so and so; gives what it said."""


def picture(seed: int) -> bytes:
    """A JPEG of 640 x 480 pixels, the same for the same seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    coarse.resize((640, 480), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class Server:
    """A server process and its address."""

    def __init__(self, name: str, command: list[str], port: int, ask: Ask, log: Path, **environment: str) -> None:
        self.name, self.url, self._ask = name, f"http://127.0.0.1:{port}", ask
        with log.open("wb") as stream:
            self.process = subprocess.Popen(command, stdout=stream, stderr=stream, env=os.environ | environment)
        end = time.monotonic() + 180
        while True:
            try:
                self.ask(0)
                return
            except httpx.HTTPError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{name} did not start:\n{log.read_text()[-3000:]}") from None
                time.sleep(0.5)

    def ask(self, seed: int) -> str:
        return self._ask(self.url, seed)

    def rate(self, clients: int, requests: int, first_seed: int) -> tuple[float, list[str]]:
        """Requests a second of `clients` that each wait for their answer, and the answers."""
        with ThreadPoolExecutor(clients) as pool:
            started = time.perf_counter()
            answers = list(pool.map(self.ask, range(first_seed, first_seed + requests)))
            return requests / (time.perf_counter() - started), answers

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Addresses:
    """Where a server's doors are: host and port."""

    http: tuple[str, int]
    grpc: tuple[str, int]

    def url(self, scheme: str = "http") -> str:
        host, port = self.grpc if scheme == "grpc" else self.http
        return f"{scheme}://{host}:{port}"


@contextmanager
def serving(folder: Path, *arguments: str, **settings: str) -> Iterator[Addresses]:
    """`vlpserve serve` with these arguments on free ports, from when it is ready; files of its own lie in `folder`."""
    ready, log = folder / "ready.json", folder / "server.log"
    ready.unlink(missing_ok=True)
    own = {"VLPSERVE_HTTP_PORT": "0", "VLPSERVE_GRPC_PORT": "0", "VLPSERVE_READY_FILE": str(ready)}
    with log.open("wb") as stream:
        command = [sys.executable, "-m", "vlp_cli", "serve", *arguments]
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=os.environ | own | settings)
    try:
        end = time.monotonic() + 120
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(log.read_text()[-3000:])
            time.sleep(0.1)
        told = json.loads(ready.read_text())
        yield Addresses((told["http_host"], told["http_port"]), (told["grpc_host"], told["grpc_port"]))
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def serving_models(folder: Path, repository: Path, threads: int, *names: str) -> Iterator[str]:
    """Models of a repository by themselves, with time enough for a slow machine; the URL."""
    settings = {
        "VLPSERVE_MODELS_REPOSITORY": str(repository),
        "VLPSERVE_ENGINE_THREADS": str(threads),
        "VLPSERVE_COLLECTIONS_ENABLED": "false",
        "VLPSERVE_ADMISSION_DEFAULT_TIMEOUT_S": "300",
    }
    with serving(folder, *names, **settings) as server:
        yield server.url()


def start_ours(name: str, deployment: str, repository: Path, ask: Ask, threads: int, **settings: str) -> Server:
    """vlpserve with a deployment, its caches of answers and pictures off unless `settings` say otherwise."""
    port = free_port()
    command = [sys.executable, "-m", "vlp_cli", "serve", deployment]
    environment = {
        "VLPSERVE_HTTP_PORT": str(port),
        "VLPSERVE_MODELS_REPOSITORY": str(repository),
        "VLPSERVE_ENGINE_THREADS": str(threads),
        "VLPSERVE_CACHE_ANSWER_ENTRIES": "0",
        "VLPSERVE_CACHE_IMAGE_ENTRIES": "0",
        "VLPSERVE_CACHE_STATE_ENTRIES": "0",
    }
    return Server(name, command, port, ask, repository.parent / f"{name}.log", **(environment | settings))


def start_plain(app: str, checkpoint: Path, ask: Ask, threads: int) -> Server:
    """FastAPI around transformers: a module of this folder with `app`."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", f"{app}:app", "--port", str(port), "--log-level", "warning"]
    command += ["--app-dir", str(Path(__file__).parent)]
    settings = {"BENCH_THREADS": str(threads), "BENCH_CHECKPOINT": str(checkpoint)}
    return Server("plain", command, port, ask, checkpoint.parent / "plain.log", **settings)


def keep(result: object, out: Path | None) -> str:
    """Write figures to a file, where one is named; the text of it."""
    text = json.dumps(result, indent=1)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")
    return text


def tell(result: object, out: Path | None) -> None:
    """Print figures, and keep them."""
    print(keep(result, out))


def run_benchmark(told: str | None, measure: Callable[[Path, int, int, int], dict[str, object]], requests: int) -> None:
    """The command line of a benchmark of serving: `measure` takes a folder, threads, rounds and requests."""
    parser = argparse.ArgumentParser(description=told)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=requests)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--keep", type=Path, help="Folder for checkpoints and repository.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        result = measure(folder, arguments.threads, arguments.rounds, arguments.requests)
    tell(result, arguments.out)
