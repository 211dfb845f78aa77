"""Tiny BLIPs of random weights: as models, as checkpoint directories, and exported as deployments "tiny-<head>".

Exporting takes seconds: tests that only read share what `shared_tiny_blip` gives.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import BlipConfig as TransformersBlipConfig
from vlp_export.exporter import export_checkpoint
from vlp_export.options import ExportOptions
from vlp_models.checkpoints import save_checkpoint
from vlp_models.checkpoints.blip_tokenizer import blip_token_ids, with_blip_tokens
from vlp_models.data.tokenizer_building import build_tokenizer
from vlp_models.families.blip import BlipModel
from vlp_models.families.blip_config import BlipConfig

TEXTS = ("a picture of a red cat and two dogs", "the blue house is above the tree , at the left", "what color is it ?")
IMAGE_SIZE, PATCH_SIZE = 32, 16
POSITIONS = 24
MAX_TEXT = 12
SHARED: dict[str, Any] = {"layers": 2, "text_width": 24}
IMAGE = {"type": "clip", "height": IMAGE_SIZE, "width": IMAGE_SIZE, "resample": "bicubic"}


def blip_tokenizer() -> str:
    """The content of a tokenizer.json: the words of TEXTS, letters, and BLIP's tokens."""
    return with_blip_tokens(build_tokenizer(TEXTS, vocab_size=200).to_str())


def tiny_blip(*heads: str, layers: int = 1, text_width: int = 16, **changes: Any) -> BlipModel:
    """A model in evaluation mode; `changes` are BlipConfig's."""
    tokens = blip_token_ids(blip_tokenizer())
    text = {
        "vocab_size": max(tokens.start, tokens.fuse) + 1,
        "hidden_size": text_width,
        "encoder_hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 2,
        "max_position_embeddings": POSITIONS,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "bos_token_id": tokens.start,
        "sep_token_id": tokens.end,
        "eos_token_id": tokens.end,
        "pad_token_id": tokens.pad,
    }
    vision = {
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": IMAGE_SIZE,
        "patch_size": PATCH_SIZE,
    }
    hf = TransformersBlipConfig(text_config=text, vision_config=vision, image_text_hidden_size=12)
    settings: dict[str, Any] = {"prompt": "a picture of " if "caption" in heads else "", "merged_from": 0}
    model = BlipModel(
        BlipConfig(
            hf=hf,
            heads=heads,
            tokens=tokens,
            max_text_len=MAX_TEXT,
            pixel_mean=(0.5, 0.4, 0.3),
            pixel_std=(0.2, 0.3, 0.25),
            **(settings | changes),
        )
    )
    return _sharpened(model).eval()


def write_tiny_blip(
    folder: Path, *heads: str, labels: tuple[str, ...] | None = None, storage: str = "float32", **changes: Any
) -> Path:
    """A checkpoint directory."""
    model = tiny_blip(*heads, **changes)
    save_checkpoint(folder, model, tokenizer=blip_tokenizer(), image=IMAGE, labels=labels, storage=storage)
    return folder


def export_tiny_blip(root: Path, *kinds: str, samples: int = 4, **changes: Any) -> Path:
    """A repository with a deployment "tiny-<kind>" for each of `kinds`, which are heads."""
    repository = root / "repository"
    for kind in kinds:
        checkpoint = write_tiny_blip(root / f"tiny-{kind}", kind, **changes)
        export_checkpoint(checkpoint, repository=repository, options=ExportOptions(proof_samples=samples))
    return repository


def shared_tiny_blip(*kinds: str) -> Path:
    """A folder with checkpoints "tiny-<kind>" and "repository", made once for all tests of a process; to be read only.

    The models have two blocks, and texts and pictures are of the same width, as transformers wants it for questions.
    """
    for kind in kinds:
        _share(kind)
    return Path(_shared_folder().name)


@functools.cache
def _shared_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tiny-blip-")


@functools.cache
def _share(kind: str) -> None:
    export_tiny_blip(Path(_shared_folder().name), kind, samples=5, **SHARED)


def _sharpened(model: BlipModel, seed: int = 0) -> BlipModel:
    """Random weights of a size at which outputs differ: fresh ones give outputs so flat that mistakes would hide."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name == "logit_scale":
            nn.init.constant_(parameter, 2.5)
        elif "norm" in name.lower():
            nn.init.normal_(parameter, mean=0.7 if name.endswith("weight") else 0.0, std=0.2)
        else:
            nn.init.normal_(parameter, std=0.5 if parameter.ndim == 1 else 1.2 * parameter.shape[-1] ** -0.5)
        if "position_embeddings" in name:
            parameter.data *= 2  # or the same word would follow itself for ever
    return model
