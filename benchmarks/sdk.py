"""The SDK's bulk runs against a real server process, in items a second: over HTTP and gRPC, dummy engine and CLIP.

One picture a call and one call at a time (`embed`), `embed_many` without and with a journal, and `index_many` into a
new collection, each as the SDK does it by itself: 32 items a call, four calls at a time. Pictures are JPEG of 64 x 64
pixels, all different, and the server keeps no vectors, so that no cache answers. Rounds alternate between all ways;
medians are printed. Server and client share the machine's cores.

Usage: python benchmarks/sdk.py [--rounds 5] [--items 512] [--out FILE]
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from serving_bench import serving, tell
from vlp_client import Client, NewItem
from vlp_client import picture as picture_item

MODELS = ("dummy-encoder", "scenes-clip")
SCHEMES = ("http", "grpc")
ALONE = 8  # of so many items, one is sent in a call of its own


def picture(seed: int) -> bytes:
    """A small JPEG, the same for the same seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class Run:
    """All ways of one round, of one client and one model.

    Args:
        client: over one transport.
        model: that embeds.
        pictures: none of which the server has seen.
        folder: for journals.
    """

    def __init__(self, client: Client, model: str, pictures: list[bytes], folder: Path) -> None:
        self._client, self._model, self._pictures = client, model, pictures
        self._journal = folder / f"{time.monotonic_ns()}.journal"

    def rates(self) -> dict[str, float]:
        """Items a second of each way."""
        quarter = len(self._pictures) // 4
        alone, many, kept, index = (self._pictures[n * quarter : (n + 1) * quarter] for n in range(4))
        return {
            "embed, one a call": self._rate(alone[: len(alone) // ALONE], self._one_by_one),
            "embed_many": self._rate(many, self._many),
            "embed_many, journal": self._rate(kept, self._many_kept),
            "index_many": self._rate(index, self._index),
        }

    def _rate(self, pictures: list[bytes], work: Callable[[list[bytes]], int]) -> float:
        started = time.perf_counter()
        done = work(pictures)
        if done != len(pictures):
            raise RuntimeError(f"{done} of {len(pictures)} items are done")
        return done / (time.perf_counter() - started)

    def _one_by_one(self, pictures: list[bytes]) -> int:
        return sum(len(self._client.embed([picture_item(one)], model=self._model).vectors) for one in pictures)

    def _many(self, pictures: list[bytes]) -> int:
        return sum(result.ok for result in self._client.embed_many(pictures, model=self._model))

    def _many_kept(self, pictures: list[bytes]) -> int:
        results = self._client.embed_many(pictures, model=self._model, journal=self._journal)
        return sum(result.ok for result in results)

    def _index(self, pictures: list[bytes]) -> int:
        collection = self._client.collection("bench")
        collection.create(model=self._model)
        try:
            results = list(collection.index_many(NewItem(image=one) for one in pictures))
        finally:
            collection.drop()
        return sum(result.ok and result.unwrap().status == "created" for result in results)


def measure(folder: Path, rounds: int, items: int) -> dict[str, object]:
    """All rates, and their medians."""
    rates: dict[str, dict[str, dict[str, list[float]]]] = {}
    # The server keeps no vectors, so that no cache answers.
    settings = {"VLPSERVE_COLLECTIONS_PLACE": str(folder / "collections"), "VLPSERVE_CACHE_EMBEDDING_ENTRIES": "0"}
    with serving(folder, *MODELS, **settings) as server:
        for number in range(rounds + 1):  # the first one warms up
            for place, (model, scheme) in enumerate((model, scheme) for model in MODELS for scheme in SCHEMES):
                first = 4 * items * (number * len(MODELS) * len(SCHEMES) + place)
                pictures = [picture(seed) for seed in range(first, first + 4 * items)]
                with Client(server.url(scheme)) as client:
                    found = Run(client, model, pictures, folder).rates()
                for way, rate in found.items() if number else ():
                    rates.setdefault(model, {}).setdefault(way, {}).setdefault(scheme, []).append(rate)
    return {
        "rounds": rounds,
        "items_a_round": items,
        "load_average": round(os.getloadavg()[0], 1),
        "items_per_s": {
            model: {way: {name: _figures(got) for name, got in by.items()} for way, by in ways.items()}
            for model, ways in rates.items()
        },
    }


def _figures(rates: list[float]) -> dict[str, float]:
    found = {"median": statistics.median(rates), "lowest": min(rates), "highest": max(rates)}
    return {name: round(rate, 1) for name, rate in found.items()}


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--items", type=int, default=512)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.rounds, options.items)
    machine = {"cpu": platform.processor() or platform.machine(), "cpus": os.cpu_count()}
    tell({"machine": machine, **result}, options.out)


if __name__ == "__main__":
    main()
