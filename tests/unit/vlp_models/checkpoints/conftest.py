from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "colour", "is", "it", "##s"]


@pytest.fixture
def config() -> ViltConfig:
    return ViltConfig(
        hidden_size=8,
        num_layers=2,
        num_heads=2,
        patch_size=4,
        image_size=12,
        vocab_size=12,
        max_text_len=6,
        heads=("vqa", "itm"),
        num_labels=3,
    )


@pytest.fixture
def model(config: ViltConfig) -> ViltModel:
    torch.manual_seed(0)
    model = ViltModel(config)
    model.init_weights()
    return model.eval()


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(WORDS) + "\n")
    return path


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps(["red", "green", "blue"]))
    return path


@pytest.fixture
def image() -> dict[str, object]:
    return {
        "type": "vilt",
        "shorter_edge": 12,
        "longer_edge": 20,
        "size_divisor": 4,
        "patch_size": 4,
        "resample": "bicubic",
    }


@pytest.fixture
def tokenizer(vocabulary: Path) -> str:
    from vlp_models.checkpoints.tokenizer_source import read_tokenizer

    return read_tokenizer(vocabulary, len(WORDS))
