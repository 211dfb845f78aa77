"""BLIPs as transformers builds them, with weights that tell mistakes, and as its save_pretrained writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipForQuestionAnswering,
    PreTrainedModel,
)

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{number}" for number in range(25)))
PAD, CLS, END, START, FUSE = 0, 2, 3, len(WORDS), len(WORDS) + 1
"""Ids of the tokens that BLIP puts in; the last two are not in the vocabulary, but have rows in the word table."""
CLASSES: dict[str, type[PreTrainedModel]] = {
    "caption": BlipForConditionalGeneration,
    "vqa": BlipForQuestionAnswering,
    "match": BlipForImageTextRetrieval,
}
IMAGE_SIZE, PATCH_SIZE = 24, 8
WORD_HEAD = "text_decoder.cls.predictions.decoder"


def transformers_blip(head: str, text: dict[str, Any] | None = None, **vision: Any) -> PreTrainedModel:
    """A model of 24 pixels in patches of 8, both widths 32; the settings change transformers' own."""
    shared = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    texts = {"vocab_size": len(WORDS) + 2, "max_position_embeddings": 40, "bos_token_id": START, "sep_token_id": END}
    pictures = {"image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE}
    config = BlipConfig(
        text_config=shared | texts | (text or {}),
        vision_config=shared | pictures | vision,
        image_text_hidden_size=12,
    )
    return sharpen(CLASSES[head](config))


def sharpen(model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """Random weights of a size at which outputs differ: fresh ones give outputs so flat that mistakes would hide."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "norm" in name.lower():
            nn.init.normal_(
                parameter, mean=float(name.endswith("weight")), std=0.2 if name.endswith("weight") else 0.05
            )
        elif "embedding" in name and parameter.ndim < 4:
            nn.init.normal_(parameter)
        elif parameter.ndim > 1:
            nn.init.normal_(parameter, std=_sharpness(name) * parameter[0].numel() ** -0.5)
        else:
            nn.init.normal_(parameter, std=0.1)
        if name.endswith("cls.predictions.bias"):
            parameter.data[END] += 4  # texts are to end, some of them early
    return model.eval()


def publish(model: PreTrainedModel, folder: Path) -> Path:
    """A directory of save_pretrained with BERT's kind of vocabulary; no processor's settings."""
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    return folder


def publish_apart(model: PreTrainedModel, folder: Path, *, parts: tuple[str, ...] = ("weight",)) -> Path:
    """As `publish`, with those parts of the word head trained apart, as transformers before version 5 leaves them."""
    path = publish(model, folder) / "model.safetensors"
    state, generator = load_file(path), torch.Generator().manual_seed(7)
    for part in parts:
        tied = model.get_parameter(f"{WORD_HEAD}.{part}").detach()
        state[f"{WORD_HEAD}.{part}"] = tied + 0.5 * torch.randn(tied.shape, generator=generator)
    save_file(state, path, metadata={"format": "pt"})
    return folder


def _sharpness(name: str) -> float:
    if ".query." in name or ".key." in name:
        return 3.0
    # Texts of one picture would all read alike.
    return 0.5 if ".crossattention.output." in name else 1.2
