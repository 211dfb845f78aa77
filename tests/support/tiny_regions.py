"""A tiny region detector, and tiny models that read its features, as proved deployments of one repository."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from vlp_export.exporter import export_checkpoint
from vlp_export.options import ExportOptions
from vlp_models.checkpoints import save_checkpoint
from vlp_models.checkpoints.faster_rcnn_directory import DetectorCheckpoint, save_detector
from vlp_models.data.tokenizer_building import build_tokenizer
from vlp_models.families.faster_rcnn import FasterRcnn
from vlp_models.families.faster_rcnn_config import FasterRcnnConfig
from vlp_models.families.uniter import UniterModel
from vlp_models.families.uniter_config import UniterConfig
from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig
from vlp_pipeline.detector_settings import DetectorSettings

EXTRACTOR = "tiny-detector"
CLASSES, ATTRIBUTES = ("cat", "dog", "cover"), ("red", "blue")
LABELS = ("contradiction", "entailment", "neutral")
ANSWERS = ("yes", "no")
MAX_REGIONS = 6
_TEXTS = ["there is a red cat at the left", "both pictures show two dogs", "the blue dog"]


def tiny_detector_config() -> FasterRcnnConfig:
    """Features of 32 numbers."""
    return dataclasses.replace(
        FasterRcnnConfig.scenes(len(CLASSES), len(ATTRIBUTES)),
        stem_width=4,
        res2_width=4,
        bottleneck_width=4,
        depths=(1, 1, 1),
        res5_depth=1,
        rpn_width=8,
    )


def write_detector(folder: Path) -> Path:
    """A checkpoint directory."""
    torch.manual_seed(0)
    model = FasterRcnn(tiny_detector_config())
    model.init_weights()
    settings = DetectorSettings(
        ((0.0, 0.0, 1.0, 1.0),),
        shorter_edge=48,
        longer_edge=96,
        pixel_dtype="uint8",
        pre_nms_top_n=40,
        post_nms_top_n=12,
        min_score=0.3,
        min_regions=3,
        max_regions=MAX_REGIONS,
        stride_px=model.config.stride_px,
    )
    save_detector(folder, DetectorCheckpoint(model.eval(), model.anchored(settings), CLASSES, ATTRIBUTES))
    return folder


def write_uniter(folder: Path, *heads: str, nlvr2_variant: str = "paired-attn") -> Path:
    """A checkpoint directory of a UNITER with some heads."""
    tokenizer = build_tokenizer(_TEXTS, vocab_size=100, lowercase=True)
    config = UniterConfig(
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        intermediate_size=32,
        vocab_size=tokenizer.get_vocab_size(),
        max_positions=14,
        heads=heads,
        num_token_types=3,
        region_size=tiny_detector_config().feature_width,
        num_labels=len(ANSWERS) if "vqa" in heads else 0,
        entailment_labels=LABELS if "entailment" in heads else (),
        nlvr2_variant=nlvr2_variant,
    )
    torch.manual_seed(1)
    model = UniterModel(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    image = {"type": "regions", "region_size": config.region_size, "max_regions": MAX_REGIONS}
    save_checkpoint(
        folder,
        model.eval(),
        tokenizer=tokenizer.to_str(),
        image=image,
        labels=ANSWERS if "vqa" in heads else None,
    )
    return folder


def write_vilt_reasoner(folder: Path) -> Path:
    """A checkpoint directory of a ViLT that judges statements on two pictures."""
    tokenizer = build_tokenizer(_TEXTS, vocab_size=100, lowercase=True)
    config = ViltConfig(
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        patch_size=32,
        image_size=96,
        vocab_size=tokenizer.get_vocab_size(),
        max_text_len=12,
        heads=("nlvr2",),
        num_token_types=3,
        dropout=0.0,
    )
    torch.manual_seed(2)
    model = ViltModel(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    image = {
        "type": "vilt",
        "shorter_edge": 96,
        "longer_edge": 160,
        "size_divisor": 32,
        "patch_size": 32,
        "resample": "bicubic",
    }
    save_checkpoint(folder, model.eval(), tokenizer=tokenizer.to_str(), image=image)
    return folder


def export_all(repository: Path, scratch: Path) -> None:
    """The extractor first, then its readers."""
    options = ExportOptions(proof_samples=6)
    export_checkpoint(write_detector(scratch / EXTRACTOR), repository=repository, options=options)
    reading = dataclasses.replace(options, extractor=EXTRACTOR)
    for name, head in READERS.items():
        export_checkpoint(write_uniter(scratch / name, head), repository=repository, options=reading)
    export_checkpoint(write_vilt_reasoner(scratch / "vilt-reasoning"), repository=repository, options=options)


READERS = {
    "uniter-vqa": "vqa",
    "uniter-match": "itm",
    "uniter-rank": "rank",
    "uniter-entailment": "entailment",
    "uniter-reasoning": "nlvr2",
    "uniter-grounding": "grounding",
}
