"""What seeing costs: UNITER-base behind the bottom-up-attention detector, Pixel-BERT's shape, ViLT-B/32, in one run.

All at full size with random weights. UNITER and ViLT are asked through a vlpserve server, whose Server-Timing tells
where the time went; Pixel-BERT's shape (ResNet-50 grid, BERT-base over it) is not served yet, and runs as a graph
behind the same decoding. Pictures are of 640 x 480 and resized as each model's own processor does.

Usage: python benchmarks/visual_embedders.py [--threads 2] [--pictures 5] [--out FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import torch
from full_size_checkpoint import word_tokenizer, write_full_size_checkpoint
from serving_bench import picture, serving_models, tell
from torch import Tensor, nn
from vlp_export.exporter import export_checkpoint
from vlp_export.onnx_graph import export_graph, save_graph
from vlp_export.options import ExportOptions
from vlp_export.plan import GraphPlan
from vlp_models.checkpoints import save_checkpoint
from vlp_models.checkpoints.faster_rcnn_directory import DetectorCheckpoint, save_detector
from vlp_models.families.faster_rcnn import FasterRcnn
from vlp_models.families.faster_rcnn_config import FasterRcnnConfig
from vlp_models.families.uniter import UniterModel
from vlp_models.families.uniter_backbone import UniterBackbone
from vlp_models.families.uniter_config import UniterConfig
from vlp_models.layers.resnet_bottleneck import bottleneck_stage
from vlp_models.layers.resnet_c4 import ResnetC4
from vlp_pipeline.detector_image import DetectorImageProcessor
from vlp_pipeline.detector_settings import DetectorSettings
from vlp_pipeline.images import decode_image
from vlp_spec.deployment import AxisLimit
from vlp_spec.tensors import TensorSpec

UNITER, VILT, DETECTOR = "uniter-base", "vilt-b-32", "butd-r101-c4"
REGIONS = 36
GRID_SHORTER, GRID_LONGER = 800, 1333
QUESTION = "az bz cz dz ez fz"


def uniter_config() -> UniterConfig:
    return UniterConfig(768, 12, 12, 3072, 28_996, 512, ("vqa",), num_labels=3129)


def write_uniter(folder: Path) -> Path:
    torch.manual_seed(0)
    config = uniter_config()
    model = UniterModel(config).eval()
    model.init_weights()
    image = {"type": "regions", "region_size": config.region_size, "max_regions": 100}
    labels = [f"answer {number}" for number in range(config.num_labels)]
    save_checkpoint(folder, model, tokenizer=word_tokenizer(config.vocab_size), image=image, labels=labels)
    return folder


def write_detector(folder: Path) -> Path:
    """Random weights are sure of nothing; the number of regions is therefore set, to the paper's."""
    torch.manual_seed(0)
    model = FasterRcnn(FasterRcnnConfig.bottom_up_attention()).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
    settings = dataclasses.replace(DetectorSettings.bottom_up_attention(), min_regions=REGIONS)
    save_detector(folder, DetectorCheckpoint(model, model.anchored(settings)))
    return folder


class PixelBert(nn.Module):
    """The shape of Pixel-BERT with ResNet-50: every cell of the last stage, pooled by two, is a token of BERT-base."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResnetC4(
            64, res2_width=256, bottleneck_width=64, depths=(3, 4, 6), strides=(1, 2, 2), stride_in_1x1=False
        )
        self.res5 = bottleneck_stage(3, 1024, 512, 2048, stride=2, stride_in_1x1=False)
        self.bert = UniterBackbone(uniter_config())

    def forward(self, pixels: Tensor, input_ids: Tensor, text_mask: Tensor, positions: Tensor) -> Tensor:
        """Pooled [CLS] (B, 768) of (B, 3, H, W), ids and mask (B, T), and grid positions (B, cells, 7)."""
        maps = nn.functional.max_pool2d(self.res5(self.backbone(pixels)), 2)
        cells = maps.flatten(2).transpose(1, 2)
        mask = torch.ones_like(cells[..., 0], dtype=torch.int32)
        text = self.bert.embed_text(input_ids)
        return self.bert.fuse(text, text_mask, self.bert.embed_regions(cells, positions, mask), mask).cls_feats


def pixel_bert(folder: Path, threads: int) -> tuple[onnxruntime.InferenceSession, dict[str, np.ndarray]]:
    """The graph, and what it is fed beside the pixels."""
    torch.manual_seed(0)
    width, height = round(GRID_SHORTER / 480 * 640 / 64) * 64, GRID_SHORTER // 64 * 64
    cells = (width // 64) * (height // 64)
    feeds = {
        "pixels": np.zeros((1, 3, height, width), np.float32),
        "input_ids": np.ones((1, 8), np.int32),
        "text_mask": np.ones((1, 8), np.int32),
        "positions": np.full((1, cells, 7), 0.5, np.float32),
    }
    example = {name: np.repeat(array, 2, axis=0) for name, array in feeds.items()}
    inputs = tuple(TensorSpec(name, str(array.dtype), ("batch", *array.shape[1:])) for name, array in feeds.items())
    outputs = (TensorSpec("cls_feats", "float32", ("batch", 768)),)
    plan = GraphPlan("fusion", PixelBert().eval(), inputs, outputs, example)
    save_graph(export_graph(plan, {"batch": AxisLimit(1, 1, 8)}), folder / "pixel-bert.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(folder / "pixel-bert.onnx", options, providers=["CPUExecutionProvider"]), feeds


def grid_ms(session: onnxruntime.InferenceSession, feeds: dict[str, np.ndarray], pictures: list[bytes]) -> list[float]:
    settings = DetectorSettings(((0.0, 0.0, 1.0, 1.0),), shorter_edge=GRID_SHORTER, longer_edge=GRID_LONGER)
    processor, took = DetectorImageProcessor(settings), []
    height, width = feeds["pixels"].shape[2:]
    for data in pictures:
        started = time.perf_counter()
        pixels = processor.prepare(decode_image(data)).pixels[:, :, :height, :width]
        fitted = np.zeros_like(feeds["pixels"])
        fitted[:, :, : pixels.shape[2], : pixels.shape[3]] = pixels
        session.run(None, {**feeds, "pixels": fitted})
        took.append((time.perf_counter() - started) * 1000)
    return took


def asked(url: str, model: str, data: bytes, question: str) -> dict[str, float]:
    """Stages of one call by the server's own clock, milliseconds."""
    reply = httpx.post(
        f"{url}/v1/vqa",
        files={"image": data},
        data={"question": question, "model": model},
        timeout=600,
        trust_env=False,
    )
    reply.raise_for_status()
    stages = {}
    for entry in reply.headers["Server-Timing"].split(", "):
        name, _, value = entry.partition(";dur=")
        if value:
            stages[name] = float(value)
    return stages


def medians(calls: list[dict[str, float]]) -> dict[str, float]:
    names = {name for call in calls for name in call}
    return {name: round(statistics.median(call.get(name, 0.0) for call in calls), 1) for name in sorted(names)}


def measure(folder: Path, threads: int, count: int) -> dict[str, object]:
    torch.set_num_threads(threads)
    repository = folder / "repository"
    few = ExportOptions(proof_samples=1)
    export_checkpoint(write_detector(folder / DETECTOR), repository=repository, options=few)
    reading = dataclasses.replace(few, extractor=DETECTOR, proof_samples=2)
    export_checkpoint(write_uniter(folder / UNITER), repository=repository, options=reading)
    export_checkpoint(write_full_size_checkpoint(folder / VILT), repository=repository, options=few)
    pictures = [picture(seed) for seed in range(100, 100 + count)]
    with serving_models(folder, repository, threads, UNITER, VILT) as url:
        for model in (UNITER, VILT):
            asked(url, model, picture(99), QUESTION)  # the first call reserves memory
        uniter = [asked(url, UNITER, data, QUESTION) for data in pictures]
        again = [asked(url, UNITER, data, f"{QUESTION} gz") for data in pictures]
        vilt = [asked(url, VILT, data, QUESTION) for data in pictures]
    session, feeds = pixel_bert(folder, threads)
    grid_ms(session, feeds, pictures[:1])
    grid = grid_ms(session, feeds, pictures)
    found = {"UNITER-base, a new picture": medians(uniter), "UNITER-base, the same again": medians(again)}
    found |= {"ViLT-B/32": medians(vilt), "Pixel-BERT-R50's shape": {"total": round(statistics.median(grid), 1)}}
    shortest = found["ViLT-B/32"]["total"]
    ratios = {name: round(stages["total"] / shortest, 1) for name, stages in found.items()}
    return {
        "machine": {"cpu": platform.processor() or platform.machine(), "cpus": os.cpu_count()},
        "threads": threads,
        "pictures": count,
        "ms": found,
        "ratio_to_vilt": ratios,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.threads, arguments.pictures)
    tell(result, arguments.out)


if __name__ == "__main__":
    main()
