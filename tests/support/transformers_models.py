"""ViLT as transformers builds it, with weights that tell mistakes, and as its save_pretrained writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, ViltConfig

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(20)))


def build_vilt(kind: type[PreTrainedModel], **settings: Any) -> PreTrainedModel:
    """A model of random weights; `settings` are ViltConfig's."""
    torch.manual_seed(0)
    model = kind(ViltConfig(**settings)).eval()
    # transformers starts positions at 0, norms at 1 and the rest small: outputs so flat that mistakes would hide.
    std = 1 / model.config.hidden_size**0.5
    for name, parameter in model.named_parameters():
        if "position_embeddings" in name or "cls_token" in name:
            torch.nn.init.normal_(parameter, std=0.5)
        elif "layernorm" in name.lower():
            torch.nn.init.normal_(parameter, mean=0.5, std=0.2)
        elif parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=std)
    return model


def save_vilt(model: PreTrainedModel, folder: Path) -> None:
    """A checkpoint directory with the vocabulary WORDS; the index of a word is its id."""
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
