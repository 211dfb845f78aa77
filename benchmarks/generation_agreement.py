"""Served captions against transformers' `generate` on the same weights: greedy, and with 3 beams.

Of full-size random weights, or of any captioner: with --checkpoint and --repository of its own. Texts that differ are
counted by whether transformers itself was sure: by less than 1e-4 it may as well have written the other one.

Usage: python benchmarks/generation_agreement.py [--pictures 16] [--tokens 20] [--keep DIR] [--out FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path

import torch
from full_size_blip import export_blip, write_blip
from serving_bench import picture, tell
from transformers import BlipForConditionalGeneration
from vlp_models.checkpoints import load_checkpoint
from vlp_models.evaluation.reference_generation import generate_reference
from vlp_pipeline.blip_caption import BlipCaptionPipeline
from vlp_pipeline.registry import build_pipeline
from vlp_server.core.service import Service
from vlp_server.core.settings import CoreSettings, ModelSettings
from vlp_spec.found_deployment import find_deployment
from vlp_spec.tasks import CaptionQuery, Decoding

BEAMS = (1, 3)
SURE = 1e-4


async def served(repository: Path, name: str, images: list[bytes], queries: list[CaptionQuery]) -> list[list[str]]:
    """All captions, asked at once; one list a query."""
    service = Service(CoreSettings(models=(ModelSettings(reference=name, repository=repository),)))
    await service.start()
    try:
        assert (await service.wait_ready(600)).ready
        deadline = asyncio.get_running_loop().time() + 36_000
        asked = [service.caption(image, query, deadline=deadline) for query in queries for image in images]
        texts = [reply.results[0].captions[0].text for reply in await asyncio.gather(*asked)]
    finally:
        await service.close()
    return [texts[start : start + len(images)] for start in range(0, len(texts), len(images))]


def measure(checkpoint: Path, repository: Path, name: str, pictures: int, tokens: int) -> dict[str, object]:
    images = [picture(seed) for seed in range(pictures)]
    queries = [CaptionQuery(decoding=Decoding(max_tokens=tokens, min_tokens=2, num_beams=beams)) for beams in BEAMS]
    ours = asyncio.run(served(repository, name, images, queries))
    found = find_deployment(repository, name)
    pipeline = build_pipeline(found.deployment, found.assets_dir)
    assert isinstance(pipeline, BlipCaptionPipeline)
    model = BlipForConditionalGeneration.from_pretrained(checkpoint).eval()
    encode = load_checkpoint(checkpoint).blip.encode_image
    result: dict[str, object] = {}
    for query, said in zip(queries, ours, strict=True):
        equal = close = other = 0
        for image, text in zip(images, said, strict=True):
            with torch.no_grad():
                states = encode(torch.from_numpy(pipeline.prepare_image(image).arrays["pixels"])[None])
            beginning = pipeline.begin(query)
            wanted = generate_reference(model.text_decoder, states, beginning, pipeline.plan(query, len(beginning)))
            same = pipeline.text_of(query, wanted.tokens) == text
            equal += same
            close += not same and wanted.gap < SURE
            other += not same and wanted.gap >= SURE
        result[f"{query.decoding.num_beams} beams"] = {"equal": equal, "within_1e-4": close, "different": other}
    return result | {"model": name, "pictures": pictures, "tokens": tokens, "cores": os.cpu_count()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--checkpoint", type=Path, help="Of a captioner; default full-size random weights.")
    parser.add_argument("--repository", type=Path, help="Where it is exported, under the folder's name.")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--keep", type=Path, help="Folder for checkpoint and repository.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        checkpoint = arguments.checkpoint or write_blip(folder / "blip-caption-random", "caption")
        repository = arguments.repository or folder / "repository"
        name = checkpoint.name if arguments.repository else export_blip(checkpoint, repository)
        tell(measure(checkpoint, repository, name, arguments.pictures, arguments.tokens), arguments.out)


if __name__ == "__main__":
    main()
