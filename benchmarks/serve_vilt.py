"""ViLT-B/32 at full size with random weights: requests a second of vlpserve (fp32, int8) beside FastAPI and
transformers, at 1 and 8 clients, and beside the graph alone.

Every request has a picture of its own, so no cache answers. Rounds alternate between the servers; medians are printed.

Usage: python benchmarks/serve_vilt.py [--threads 2] [--rounds 3] [--requests 24] [--out FILE]
"""

from __future__ import annotations

import os
import platform
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx
import onnxruntime
import torch
from full_size_checkpoint import LABELS, VOCABULARY, spell
from serving_bench import picture, run_benchmark, start_ours, start_plain
from transformers import BertTokenizer, ViltConfig, ViltForQuestionAnswering, ViltImageProcessor, ViltProcessor
from vlp_pipeline.registry import build_pipeline
from vlp_spec.deployment_json import parse_deployment
from vlp_spec.repository import RepositoryLayout
from vlp_spec.tasks import VqaQuery

CLIENTS = (1, 8)
RAW_BATCH = 8
WORDS = [spell(number) for number in range(2000)]


def write_transformers_checkpoint(folder: Path) -> None:
    """Random weights in the published form, so that both sides read the same."""
    torch.manual_seed(0)
    names = {number: f"answer {number}" for number in range(LABELS)}
    config = ViltConfig(num_labels=LABELS, id2label=names, label2id={name: number for number, name in names.items()})
    ViltForQuestionAnswering(config).save_pretrained(folder)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = special + [spell(number) for number in range(VOCABULARY - len(special))]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    tokenizer = BertTokenizer(vocab={word: number for number, word in enumerate(vocabulary)}, model_max_length=40)
    ViltProcessor(ViltImageProcessor(size={"shortest_edge": 384}), tokenizer).save_pretrained(folder)


def question(seed: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=8))


def ask(url: str, seed: int) -> str:
    files, data = {"image": picture(seed)}, {"question": question(seed)}
    response = httpx.post(f"{url}/v1/vqa", files=files, data=data, timeout=120)
    response.raise_for_status()
    return str(response.json()["answers"][0]["answer"])


def raw_rate(repository: Path, name: str, threads: int, batches: int = 6) -> float:
    """Items a second of the graph alone, fed with whole batches that are already prepared."""
    layout = RepositoryLayout(repository)
    deployment = parse_deployment(layout.manifest(name, 1).read_text())
    pipeline = build_pipeline(deployment, layout.assets(name, 1))
    items = [
        pipeline.prepare(pipeline.prepare_image(picture(seed)), VqaQuery(question(seed))) for seed in range(RAW_BATCH)
    ]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(layout.graph_file(deployment.graph("fusion"), "model.onnx")), options, ["CPUExecutionProvider"]
    )
    feeds = pipeline.collate(items)
    session.run(None, feeds)
    started = time.perf_counter()
    for _ in range(batches):
        session.run(None, feeds)
    return batches * RAW_BATCH / (time.perf_counter() - started)


def measure(folder: Path, threads: int, rounds: int, requests: int) -> dict[str, object]:
    checkpoint, repository = folder / "vilt-b32-random", folder / "repository"
    write_transformers_checkpoint(checkpoint)
    for extra in ([], ["--precision", "int8", "--min-agreement", "0"]):
        command = [sys.executable, "-m", "vlp_cli", "export", str(checkpoint), "--repository", str(repository)]
        subprocess.run([*command, "--name", "vilt", *extra], check=True, stdout=subprocess.DEVNULL)
    servers = {
        "plain": lambda: start_plain("plain_fastapi", checkpoint, ask, threads),
        "fp32": lambda: start_ours("fp32", "vilt", repository, ask, threads),
        "int8": lambda: start_ours("int8", "vilt-int8", repository, ask, threads),
    }
    rates: dict[str, dict[int, list[float]]] = {name: {clients: [] for clients in CLIENTS} for name in servers}
    raw: dict[str, list[float]] = {"fp32": [], "int8": []}
    answers: dict[str, list[str]] = {}
    for _ in range(rounds):
        for name, start in servers.items():
            server = start()  # one at a time: an idle neighbour still holds memory and wakes up
            try:
                server.rate(8, 8, 10_000)
                for clients in CLIENTS:
                    rate, answers[name] = server.rate(clients, requests, 100)
                    rates[name][clients].append(rate)
            finally:
                server.stop()
        raw["fp32"].append(raw_rate(repository, "vilt", threads))
        raw["int8"].append(raw_rate(repository, "vilt-int8", threads))
    return _summary(rates, raw, answers) | {"threads": threads, "rounds": rounds, "requests": requests}


def _summary(
    rates: dict[str, dict[int, list[float]]], raw: dict[str, list[float]], answers: dict[str, list[str]]
) -> dict[str, object]:
    median = {
        name: {clients: statistics.median(values) for clients, values in own.items()} for name, own in rates.items()
    }
    equal = [ours == theirs for ours, theirs in zip(answers["fp32"], answers["plain"], strict=True)]
    return {
        "requests_per_s": {name: {str(c): round(rate, 2) for c, rate in own.items()} for name, own in median.items()},
        "over_plain": {
            name: {str(c): round(median[name][c] / median["plain"][c], 2) for c in CLIENTS} for name in ("fp32", "int8")
        },
        "raw_items_per_s": {name: round(statistics.median(values), 2) for name, values in raw.items()},
        "served_over_raw": {
            name: round(median[name][8] / statistics.median(raw[name]), 3) for name in ("fp32", "int8")
        },
        "fp32_answers_equal_plain": f"{sum(equal)} of {len(equal)}",
        "all_rates": rates,
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
    }


if __name__ == "__main__":
    run_benchmark(__doc__, measure, requests=24)
