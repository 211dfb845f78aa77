"""BLIP at its published size (ViT-B/16, BERT-base) with random weights, in the published form; and its exports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from full_size_checkpoint import spell
from torch import nn
from transformers import (
    BertTokenizer,
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForQuestionAnswering,
    BlipImageProcessor,
    PreTrainedModel,
)

_WORDS = 30_522
_CLASSES = {"caption": BlipForConditionalGeneration, "vqa": BlipForQuestionAnswering}


def write_blip(folder: Path, kind: str) -> Path:
    """Write a checkpoint directory that transformers reads, and vlpserve."""
    if (folder / "config.json").exists():
        return folder
    torch.manual_seed(0)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *(spell(number) for number in range(_WORDS - len(special)))]
    text = {
        "num_attention_heads": 12,
        "bos_token_id": _WORDS,
        "sep_token_id": words.index("[SEP]"),
        "eos_token_id": words.index("[SEP]"),
        "pad_token_id": 0,
    }
    model = _CLASSES[kind](BlipConfig(text_config=text)).eval()
    _draw(model)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    BertTokenizer(vocab={word: number for number, word in enumerate(words)}).save_pretrained(folder)
    BlipImageProcessor(size={"height": 384, "width": 384}).save_pretrained(folder)
    return folder


def export_blip(checkpoint: Path, repository: Path) -> str:
    """Export it with the command that users have; gives the deployment's name."""
    if not (repository / "deployments" / checkpoint.name).exists():
        command = [sys.executable, "-m", "vlp_cli", "export", str(checkpoint), "--repository", str(repository)]
        subprocess.run([*command, "--proof-samples", "2"], check=True)
    return checkpoint.name


@torch.no_grad()
def _draw(model: PreTrainedModel) -> None:
    """Weights of a size at which words differ; with those that training starts from, all logits are nearly equal."""
    for name, parameter in model.named_parameters():
        if "norm" in name.lower():
            nn.init.constant_(parameter, 1.0 if name.endswith("weight") else 0.0)
        else:
            nn.init.normal_(parameter, std=0.05)
    model.tie_weights()
