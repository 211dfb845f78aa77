"""A BLIP of a few numbers and a batch for it, for tests of the objectives."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import BlipConfig as TransformersBlipConfig
from vlp_models.families.blip import BlipModel
from vlp_models.families.blip_config import BlipConfig, TokenIds
from vlp_models.training.starting_weights import init_writer

PAD, CLS, END, DEC, ENC = 0, 2, 3, 18, 19
WIDTH, ROWS, WORDS = 8, 4, 20
SIZES = {
    "vision_config": {
        "image_size": 8, "patch_size": 4, "hidden_size": WIDTH, "intermediate_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2,
    },
    "text_config": {
        "vocab_size": WORDS, "hidden_size": WIDTH, "encoder_hidden_size": WIDTH, "intermediate_size": 16,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 10, "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0, "bos_token_id": DEC, "pad_token_id": PAD, "sep_token_id": END,
        "eos_token_id": END,
    },
    "image_text_hidden_size": 6,
}  # fmt: skip


def blip_model(heads: tuple[str, ...] = ("caption", "match")) -> BlipModel:
    """The same random weights at every call, in evaluation mode."""
    torch.manual_seed(0)
    tokens = TokenIds(start=DEC, fuse=ENC, cls=CLS, end=END, pad=PAD)
    config = BlipConfig(
        hf=TransformersBlipConfig(**SIZES),
        heads=heads,
        tokens=tokens,
        max_text_len=6,
        pixel_mean=(0.5, 0.5, 0.5),
        pixel_std=(0.5, 0.5, 0.5),
    )
    model = BlipModel(config)
    init_writer(model, config)
    for parameter in model.parameters():  # large enough that the objectives tell rows apart
        parameter.data.mul_(10 if parameter.ndim > 1 else 1)
    return model.eval()


def blip_batch() -> dict[str, Tensor]:
    """A batch of vlp_models.data.pairs with all that it may hold."""
    generator = torch.Generator().manual_seed(0)
    return {
        "pixels": torch.randint(0, 256, (ROWS, 8, 8, 3), dtype=torch.uint8, generator=generator),
        "input_ids": torch.tensor([[CLS, 5, 6, END], [CLS, 7, END, PAD], [CLS, 7, END, PAD], [CLS, 5, END, PAD]]),
        "text_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0]]),
        "word_scale": torch.tensor(1 / 9),
        "text_groups": torch.tensor([0, 1, 1, 2]),  # rows 1 and 2 say the same
        "picture_groups": torch.tensor([7, 8, 9, 7]),  # rows 0 and 3 show the same
        "region_rows": torch.tensor([0, 3]),
        "region_slots": torch.tensor([1, 2]),
        "region_words": torch.tensor([[0, 7], [1, 8], [1, 9]]),
        "region_scale": torch.tensor(1 / 3),
        "false_rows": torch.tensor([2]),
        "false_ids": torch.tensor([[CLS, 8, 9, 10, END]]),
        "false_mask": torch.tensor([[1, 1, 1, 1, 1]]),
    }
