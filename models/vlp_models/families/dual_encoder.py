"""CLIP and SigLIP: a picture tower and a text tower that meet in a dot product.

The towers are transformers' own modules, so that parameter names, and with them checkpoint directories, are those of
the published models. What is added: raw pixels are normalised inside, and padding is what `text_mask` says.

Sources: Radford et al. 2021 (arXiv:2103.00020), Zhai et al. 2023 (arXiv:2303.15343).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel
from vlp_spec.errors import ConfigError, InvalidArgumentError

from vlp_models.families.dual_encoder_config import DualEncoderConfig, Kind, default_pixels


class DualEncoder(nn.Module):
    """A dual encoder.

    Attributes:
        hf: transformers' CLIPModel or SiglipModel; `hf.state_dict()` has the published names.
        config: see DualEncoderConfig.
    """

    hf: CLIPModel | SiglipModel
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, config: DualEncoderConfig, hf: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.hf = hf if hf is not None else make_towers(config)
        # Not persistent: they belong to the processor's file, not to the weights.
        self.register_buffer("pixel_mean", torch.tensor(config.pixel_mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(config.pixel_std).view(1, 3, 1, 1), persistent=False)

    @property
    def logit_scale(self) -> nn.Parameter:
        """Logarithm of the factor of a similarity; () for CLIP, (1,) for SigLIP."""
        return self.hf.logit_scale

    @property
    def logit_bias(self) -> nn.Parameter | None:
        """(1,), added to the scaled similarity; None for CLIP."""
        return self.hf.logit_bias if self.config.kind == "siglip" else None

    def set_gradient_checkpointing(self, enabled: bool) -> None:
        """Trade time for memory while training: blocks are computed again in the backward pass."""
        # Called gradient_checkpointing_* in the first versions 5 of transformers.
        action = "enable" if enabled else "disable"
        name = f"activation_checkpointing_{action}"
        getattr(self.hf, name if hasattr(self.hf, name) else f"gradient_checkpointing_{action}")()

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Embed pictures; the result is not normalised.

        Args:
            pixels: (B, H, W, 3) uint8 raw RGB, or (B, 3, H, W) float already normalised; H = W = config.image_size.

        Returns:
            (B, dimension) float.
        """
        if pixels.dtype == torch.uint8:
            scaled = pixels.permute(0, 3, 1, 2).to(self.pixel_mean.dtype) / 255
            pixels = (scaled - self.pixel_mean) / self.pixel_std
        return self.hf.get_image_features(pixel_values=pixels).pooler_output

    def encode_text(self, input_ids: Tensor, text_mask: Tensor | None = None) -> Tensor:
        """Embed texts; the result is not normalised.

        CLIP pools at the first end-of-text token, which no later token reaches, so the mask only says what the padding
        is. SigLIP was trained without a mask and pools the last position: its texts are filled up to
        `config.max_text_len` with `config.pad_id`, and the mask changes nothing but the value of the padding.

        Args:
            input_ids: (B, T) int, T at most config.max_text_len, for SigLIP exactly that.
            text_mask: (B, T) int or bool, true = a token; where false, any id may stand. None: ids as given.

        Returns:
            (B, dimension) float.
        """
        limit = self.config.max_text_len
        if not torch.compiler.is_exporting() and (
            input_ids.shape[1] > limit or (self.config.fixed_text and input_ids.shape[1] != limit)
        ):
            expected = f"exactly {limit}" if self.config.fixed_text else f"at most {limit}"
            raise InvalidArgumentError(
                f"input_ids: got {input_ids.shape[1]} tokens, expected {expected}", field="input_ids"
            )
        ids = input_ids.to(torch.int64)
        if text_mask is not None:
            ids = torch.where(text_mask.to(torch.bool), ids, torch.full_like(ids, self.config.pad_id))
        return self.hf.get_text_features(input_ids=ids).pooler_output

    def forward(self, pixels: Tensor, input_ids: Tensor, text_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Both embeddings, (B, dimension) each; wrappers such as DistributedDataParallel call this one."""
        return self.encode_image(pixels), self.encode_text(input_ids, text_mask)


def make_towers(config: DualEncoderConfig) -> CLIPModel | SiglipModel:
    """The towers of a configuration, with transformers' random initialisation."""
    return CLIPModel(config.hf) if config.kind == "clip" else SiglipModel(config.hf)


@dataclass(frozen=True)
class DualEncoderSizes:
    """Sizes of a dual encoder; the defaults are CLIP ViT-B/32.

    Attributes:
        image_size: side of the pictures in pixels.
        patch_size: side of a patch in pixels.
        image_width: of the picture tower; a multiple of image_heads.
        image_layers: blocks of the picture tower.
        image_heads: attention heads of the picture tower.
        vocab_size: rows of the word table.
        max_text_len: positions of the text tower.
        text_width: of the text tower; a multiple of text_heads.
        text_layers: blocks of the text tower.
        text_heads: attention heads of the text tower.
        dimension: numbers in an embedding; SigLIP's is image_width.
        pad_id: the tokenizer's padding.
        eos_id: the token that ends a text, at which CLIP pools; None for the last row of the word table, as in CLIP's
            own vocabulary. 2 is refused: transformers reads it as "the largest id of the text".
    """

    image_size: int = 224
    patch_size: int = 32
    image_width: int = 768
    image_layers: int = 12
    image_heads: int = 12
    vocab_size: int = 49408
    max_text_len: int = 77
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    dimension: int = 512
    pad_id: int = 0
    eos_id: int | None = None


def build_dual_encoder(kind: Kind, **sizes: int) -> DualEncoder:
    """Make a dual encoder with random weights.

    Args:
        kind: "clip" or "siglip".
        sizes: fields of DualEncoderSizes.

    Raises:
        ConfigError: sizes that cannot be built.
    """
    size = DualEncoderSizes(**sizes)
    if kind == "clip" and size.eos_id == 2:
        raise ConfigError(["eos_id is 2, which transformers reads as the largest id; give the token another id"])
    vision: dict[str, Any] = {
        "image_size": size.image_size,
        "patch_size": size.patch_size,
        "hidden_size": size.image_width,
        "intermediate_size": 4 * size.image_width,
        "num_hidden_layers": size.image_layers,
        "num_attention_heads": size.image_heads,
    }
    text: dict[str, Any] = {
        "vocab_size": size.vocab_size,
        "max_position_embeddings": size.max_text_len,
        "hidden_size": size.text_width,
        "intermediate_size": 4 * size.text_width,
        "num_hidden_layers": size.text_layers,
        "num_attention_heads": size.text_heads,
        "pad_token_id": size.pad_id,
        "eos_token_id": size.vocab_size - 1 if size.eos_id is None else size.eos_id,
        "bos_token_id": None,
    }
    hf: CLIPConfig | SiglipConfig
    if kind == "clip":
        vision["projection_dim"] = text["projection_dim"] = size.dimension
        hf = CLIPConfig(text_config=text, vision_config=vision, projection_dim=size.dimension)
    else:
        hf = SiglipConfig(text_config=text | {"projection_size": size.dimension}, vision_config=vision)
    mean, std = default_pixels(kind)
    model = DualEncoder(DualEncoderConfig(kind, hf, size.max_text_len, mean, std, size.pad_id))
    if kind == "siglip":
        # Where SigLIP's training starts (section 3.2 of its paper): nearly every pair is a negative one.
        nn.init.constant_(model.hf.logit_scale, math.log(10))
        nn.init.constant_(model.hf.logit_bias, -10.0)
    return model
