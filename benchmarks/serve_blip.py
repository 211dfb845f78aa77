"""BLIP at full size with random weights: captions a second beside FastAPI and transformers' `generate`, at 1 and 8
clients, and ten questions on one picture with and without what was seen kept.

Every caption is 20 tokens, taken greedily, of a picture of its own. Rounds alternate between the servers; medians are
printed.

Usage: python benchmarks/serve_blip.py [--threads 2] [--rounds 3] [--requests 16] [--out FILE]
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from pathlib import Path

import httpx
from full_size_blip import export_blip, write_blip
from full_size_checkpoint import spell
from serving_bench import picture, run_benchmark, start_ours, start_plain

CLIENTS = (1, 8)
TOKENS = 20
QUESTIONS = 10


def caption(url: str, seed: int) -> str:
    data = {"max_tokens": TOKENS, "min_tokens": TOKENS, "num_beams": 1}  # the plain server knows no other
    response = httpx.post(f"{url}/v1/caption", files={"image": picture(seed)}, data=data, timeout=300)
    response.raise_for_status()
    return str(response.json()["captions"][0]["text"])


def ask(url: str, seed: int) -> str:
    """Question number `seed` about picture 1."""
    question = " ".join(spell(37 * seed + place) for place in range(8))
    response = httpx.post(
        f"{url}/v1/vqa", files={"image": picture(1)}, data={"question": question, "top_k": 1}, timeout=300
    )
    response.raise_for_status()
    return str(response.json()["answers"][0]["answer"])


def measure(folder: Path, threads: int, rounds: int, requests: int) -> dict[str, object]:
    repository = folder / "repository"
    captioner = write_blip(folder / "blip-caption-random", "caption")
    answerer = write_blip(folder / "blip-vqa-random", "vqa")
    names = [export_blip(checkpoint, repository) for checkpoint in (captioner, answerer)]
    rates: dict[str, dict[int, list[float]]] = {name: {c: [] for c in CLIENTS} for name in ("plain", "ours")}
    said: dict[str, list[str]] = {}
    seconds: dict[str, list[float]] = {"kept": [], "seen_anew": []}
    for _ in range(rounds):
        for name in rates:
            plain = name == "plain"
            server = (
                start_plain("plain_captions", captioner, caption, threads)
                if plain
                else start_ours("captions", names[0], repository, caption, threads)
            )
            try:
                for clients in CLIENTS:
                    rate, said[name] = server.rate(clients, requests, 100)
                    rates[name][clients].append(rate)
            finally:
                server.stop()
        for name, entries in (("kept", "1000"), ("seen_anew", "0")):
            server = start_ours(name, names[1], repository, ask, threads, VLPSERVE_CACHE_STATE_ENTRIES=entries)
            try:
                started = time.perf_counter()
                for number in range(1, 1 + QUESTIONS):
                    server.ask(number)
                seconds[name].append(time.perf_counter() - started)
            finally:
                server.stop()
    return _summary(rates, said, seconds) | {"threads": threads, "rounds": rounds, "requests": requests}


def _summary(
    rates: dict[str, dict[int, list[float]]], said: dict[str, list[str]], seconds: dict[str, list[float]]
) -> dict[str, object]:
    median = {name: {c: statistics.median(values) for c, values in own.items()} for name, own in rates.items()}
    taken = {name: statistics.median(values) for name, values in seconds.items()}
    equal = [ours == theirs for ours, theirs in zip(said["ours"], said["plain"], strict=True)]
    return {
        "captions_per_s": {name: {str(c): round(rate, 3) for c, rate in own.items()} for name, own in median.items()},
        "over_plain": {str(c): round(median["ours"][c] / median["plain"][c], 2) for c in CLIENTS},
        "captions_equal_plain": f"{sum(equal)} of {len(equal)}",
        "ten_questions_s": {name: round(value, 2) for name, value in taken.items()},
        "kept_over_seen_anew": round(taken["seen_anew"] / taken["kept"], 2),
        "all_rates": rates,
        "all_seconds": seconds,
        "tokens": TOKENS,
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
    }


if __name__ == "__main__":
    run_benchmark(__doc__, measure, requests=16)
