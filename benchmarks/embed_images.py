"""CLIP ViT-B/32 at full size with random weights: pictures embedded a second, by transformers and by vlpserve.

Three ways, in alternating rounds, medians printed: transformers in batches of 8 (decode, its processor, its model), the
exported graph in batches of 8 behind the same decoding and our processor, and a vlpserve server asked by four clients.

Usage: python benchmarks/embed_images.py [--threads 2] [--rounds 3] [--pictures 48] [--out FILE]
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
import torch
from full_size_checkpoint import spell
from PIL import Image
from serving_bench import picture, serving_models, tell
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel
from vlp_client import Client
from vlp_client import picture as picture_item
from vlp_export.exporter import export_checkpoint
from vlp_pipeline.pipeline import EmbeddingPipeline
from vlp_pipeline.registry import build_pipeline
from vlp_spec.found_deployment import find_deployment

BATCH = 8
CLIENTS = 4
NAME = "clip-vit-b-32"


def write_checkpoint(folder: Path) -> CLIPModel:
    """Random weights at the published size, with a tokenizer of made-up words."""
    torch.manual_seed(0)
    words = {spell(number): number for number in range(2000)}
    unknown, end = len(words), len(words) + 1
    tokenizer = Tokenizer(models.WordLevel(words | {"<unk>": unknown, "<|endoftext|>": end}, unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", end)]
    )
    model = CLIPModel(CLIPConfig(text_config={"eos_token_id": end, "bos_token_id": None})).eval()
    model.save_pretrained(folder)
    CLIPImageProcessorPil().save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    return model


def in_batches(pictures: list[bytes], embed: Callable[[list[bytes]], np.ndarray]) -> float:
    """Pictures a second."""
    started = time.perf_counter()
    for start in range(0, len(pictures), BATCH):
        embed(pictures[start : start + BATCH])
    return len(pictures) / (time.perf_counter() - started)


def by_server(url: str, pictures: list[bytes]) -> float:
    """Pictures a second, one in a call."""
    with Client(url) as client, ThreadPoolExecutor(CLIENTS) as threads:
        started = time.perf_counter()
        list(threads.map(lambda data: client.embed([picture_item(data)]), pictures))
        return len(pictures) / (time.perf_counter() - started)


def measure(folder: Path, threads: int, rounds: int, count: int) -> dict[str, object]:
    """All rates."""
    torch.set_num_threads(threads)
    model = write_checkpoint(folder / NAME)
    repository = folder / "repository"
    export_checkpoint(folder / NAME, repository=repository)
    processor = CLIPImageProcessorPil()
    found = find_deployment(repository, NAME)
    pipeline = cast(EmbeddingPipeline, build_pipeline(found.deployment, found.assets_dir))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    graph = found.layout.graph_file(found.deployment.graph("image"), "model.onnx")
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    @torch.inference_mode()
    def transformers_way(batch: list[bytes]) -> np.ndarray:
        images = [Image.open(io.BytesIO(data)).convert("RGB") for data in batch]
        features = model.get_image_features(**processor(images, return_tensors="pt")).pooler_output
        unit: np.ndarray = (features / features.norm(dim=-1, keepdim=True)).numpy()
        return unit

    def graph_way(batch: list[bytes]) -> np.ndarray:
        items = [pipeline.image_item(pipeline.prepare_image(data)) for data in batch]
        unit: np.ndarray = session.run(None, pipeline.collate(items))[0]
        return unit

    some = [picture(seed) for seed in range(BATCH)]
    difference = float(np.abs(transformers_way(some) - graph_way(some)).max())
    rates: dict[str, list[float]] = {"transformers": [], "graph": [], "served": []}
    with serving_models(folder, repository, threads, NAME) as url:
        by_server(url, some)
        for number in range(rounds):
            # New pictures every time, so that no cache answers.
            first = 1000 + number * count
            pictures = [picture(seed) for seed in range(first, first + count)]
            rates["transformers"].append(in_batches(pictures, transformers_way))
            rates["graph"].append(in_batches(pictures, graph_way))
            rates["served"].append(by_server(url, pictures))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "threads": threads,
        "rounds": rounds,
        "pictures_a_round": count,
        "max_difference": difference,
        "pictures_per_s": {name: round(rate, 1) for name, rate in medians.items()},
        "served / transformers": round(medians["served"] / medians["transformers"], 2),
        "served / graph": round(medians["served"] / medians["graph"], 2),
    }


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.threads, options.rounds, options.pictures)
    machine = {"cpu": platform.processor() or platform.machine(), "cpus": os.cpu_count(), "torch": torch.__version__}
    tell({"machine": machine, **result}, options.out)


if __name__ == "__main__":
    main()
