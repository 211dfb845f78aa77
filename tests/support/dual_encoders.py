"""Small CLIP and SigLIP checkpoints as transformers writes them, with tokenizers made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import nn
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

WORDS = ("a", "photo", "of", "cat", "dog", "red", "blue", "house", "two", "the", "above", "green", "tree", "car", "on")
TINY: dict[str, Any] = {"intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def clip_tokenizer() -> Tokenizer:
    """CLIP's way of words and ends, with whole words for pieces; the end of a text is the last id."""
    vocabulary: dict[str, int] = {}
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    for token in [*letters, *(f"{letter}</w>" for letter in letters)]:
        vocabulary[token] = len(vocabulary)
    merges = []
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            merges.append((parts[-2], parts[-1]))
            parts[-2:] = ["".join(parts[-2:])]
            vocabulary.setdefault(parts[-1], len(vocabulary))
    merges = list(dict.fromkeys(merges))
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[token] = len(vocabulary)
    made = Tokenizer(models.BPE(vocabulary, merges, unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    ends = [(token, made.token_to_id(token)) for token in ("<|endoftext|>", "<|startoftext|>")]
    made.post_processor = processors.RobertaProcessing(*ends, trim_offsets=False, add_prefix_space=False)
    return made


def siglip_tokenizer() -> Tokenizer:
    """One id a word, lower-cased; </s> ends a text and fills it up."""
    vocabulary = {token: number for number, token in enumerate(("<unk>", "</s>", *WORDS))}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["</s>", "<unk>"])
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return made


def tiny_clip(**changes: Any) -> CLIPModel:
    """24 pixels in patches of 8; widths 32 and 24; embeddings of 20."""
    end = clip_tokenizer().get_vocab_size() - 1
    text = {"vocab_size": end + 1, "hidden_size": 24, "max_position_embeddings": 12, "eos_token_id": end}
    text |= {"bos_token_id": end - 1}
    vision = TINY | {"hidden_size": 32, "image_size": 24, "patch_size": 8}
    settings = {"text_config": TINY | text, "vision_config": vision, "projection_dim": 20}
    return sharpen(CLIPModel(CLIPConfig(**_merge(settings, changes))))


def tiny_siglip(**changes: Any) -> SiglipModel:
    """24 pixels in patches of 8; both widths 24; texts of 10 tokens."""
    text = {"vocab_size": len(WORDS) + 2, "hidden_size": 24, "max_position_embeddings": 10, "pad_token_id": 1}
    vision = TINY | {"hidden_size": 24, "image_size": 24, "patch_size": 8}
    model = SiglipModel(SiglipConfig(**_merge({"text_config": TINY | text, "vision_config": vision}, changes)))
    return sharpen(model)


def sharpen(model: nn.Module, seed: int = 0) -> Any:
    """Random weights of a size at which outputs differ: fresh ones give outputs so flat that mistakes would hide."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name == "logit_scale":
            nn.init.constant_(parameter, 2.5)
        elif name == "logit_bias":
            nn.init.constant_(parameter, -3.0)
        elif "norm" in name and name.endswith("weight"):
            nn.init.normal_(parameter, mean=0.7, std=0.2)
        elif "embedding" in name and parameter.ndim < 4:
            nn.init.normal_(parameter, std=0.5)
        else:
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 16
            nn.init.normal_(parameter, std=fan_in**-0.5)
    return model.eval()


def publish(model: CLIPModel | SiglipModel, folder: Path, tokenizer: Tokenizer | None = None) -> Path:
    """Write a directory with save_pretrained and a tokenizer.json; no processor's settings."""
    model.save_pretrained(folder)
    if tokenizer is None:
        tokenizer = clip_tokenizer() if isinstance(model, CLIPModel) else siglip_tokenizer()
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    return folder


def _merge(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {
        **{key: value | changes.get(key, {}) if isinstance(value, dict) else value for key, value in settings.items()},
        **{key: value for key, value in changes.items() if not isinstance(value, dict)},
    }
