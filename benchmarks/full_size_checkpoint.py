"""A ViLT-B/32 for VQA at full size with random weights: what the published checkpoint costs, without a download."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from vlp_models.checkpoints import save_checkpoint
from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig

IMAGE = {
    "type": "vilt",
    "shorter_edge": 384,
    "longer_edge": 639,
    "size_divisor": 32,
    "patch_size": 32,
    "resample": "bicubic",
}
VOCABULARY, LABELS = 30_522, 3_129


def write_full_size_checkpoint(folder: Path, storage: str = "float32") -> Path:
    """Write the checkpoint directory: 117.6 million parameters."""
    torch.manual_seed(0)
    config = ViltConfig(
        hidden_size=768,
        num_layers=12,
        num_heads=12,
        patch_size=32,
        image_size=384,
        vocab_size=VOCABULARY,
        max_text_len=40,
        heads=("vqa",),
        num_labels=LABELS,
    )
    model = ViltModel(config).eval()
    model.init_weights()
    labels = [f"answer {number}" for number in range(LABELS)]
    save_checkpoint(folder, model, tokenizer=word_tokenizer(VOCABULARY), image=IMAGE, labels=labels, storage=storage)
    return folder


def word_tokenizer(size: int) -> str:
    """BERT's, of so many words, spelled with letters."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [spell(number) for number in range(size - len(special))]
    vocabulary = {token: index for index, token in enumerate(special + words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return str(tokenizer.to_str())


def spell(number: int) -> str:
    letters = ""
    while True:
        letters += chr(ord("a") + number % 26)
        number //= 26
        if number == 0:
            return letters + "z"
