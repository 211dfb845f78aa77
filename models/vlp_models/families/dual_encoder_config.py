"""The configuration of a dual encoder: transformers' own, and what else its processors and scores need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from transformers import CLIPConfig, SiglipConfig
from vlp_spec.errors import ConfigError

Kind = Literal["clip", "siglip"]
KINDS: tuple[Kind, ...] = ("clip", "siglip")
# Of OpenAI's CLIP (preprocessor_config.json of openai/clip-vit-base-patch32), and of google/siglip-base-patch16-224.
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)
_LEGACY_EOS = 2
"""What configurations written before transformers 4.31 call the end of a text; the largest id is meant."""


@dataclass(frozen=True)
class DualEncoderConfig:
    """What a dual encoder is; refuses what cannot be built or served.

    Attributes:
        kind: "clip" (texts compete: softmax) or "siglip" (each pair by itself: sigmoid).
        hf: transformers' CLIPConfig or SiglipConfig.
        max_text_len: tokens that the text tower reads, special ones included.
        pixel_mean: of red, green and blue after division by 255.
        pixel_std: likewise.
        pad_id: token that fills a text up. CLIP's causal tower never sees it; SigLIP's reads it like a word.
    """

    kind: Kind
    hf: CLIPConfig | SiglipConfig
    max_text_len: int
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    pad_id: int

    def __post_init__(self) -> None:
        faults = self._picture_faults() + self._text_faults()
        if not faults and self.kind == "siglip" and self.hf.text_config.projection_size != self.dimension:
            faults.append(f"texts become {self.hf.text_config.projection_size} numbers, pictures {self.dimension}")
        if faults:
            raise ConfigError(faults)

    def _picture_faults(self) -> list[str]:
        vision = self.hf.vision_config
        faults = [
            f"{name} is {value!r}: only squares are supported"
            for name, value in (("image_size", vision.image_size), ("patch_size", vision.patch_size))
            if not isinstance(value, int) or value < 1
        ]
        if not faults and vision.patch_size > vision.image_size:
            faults.append(f"patch_size {vision.patch_size} is larger than image_size {vision.image_size}")
        if vision.num_channels != 3:
            faults.append(f"num_channels is {vision.num_channels!r}, only 3 is supported")
        if self.kind == "siglip" and not vision.vision_use_head:
            faults.append("vision_use_head is false: without its pooling head a picture has no embedding")
        return faults + pixel_faults(self.pixel_mean, self.pixel_std)

    def _text_faults(self) -> list[str]:
        text, length = self.hf.text_config, self.max_text_len
        faults = [] if self.kind in KINDS else [f"kind: got {self.kind!r}, expected one of {', '.join(KINDS)}"]
        if not 1 <= length <= text.max_position_embeddings:
            faults.append(f"max_text_len is {length}, the model has {text.max_position_embeddings} positions")
        if self.kind == "siglip" and length < text.max_position_embeddings:
            faults.append(f"max_text_len is {length}: SigLIP reads all its {text.max_position_embeddings} positions")
        if self.kind == "clip" and not isinstance(text.eos_token_id, int):
            faults.append(f"eos_token_id is {text.eos_token_id!r}, expected one id")
        if not 0 <= self.pad_id < text.vocab_size:
            faults.append(f"pad_id is {self.pad_id}, the model knows {text.vocab_size} words")
        return faults

    @property
    def dimension(self) -> int:
        """Numbers in an embedding."""
        return int(self.hf.projection_dim if self.kind == "clip" else self.hf.vision_config.hidden_size)

    @property
    def image_size(self) -> int:
        """Side of the picture that the model reads, in pixels."""
        return int(self.hf.vision_config.image_size)

    @property
    def patch_size(self) -> int:
        """Side of a patch, in pixels."""
        return int(self.hf.vision_config.patch_size)

    @property
    def vocab_size(self) -> int:
        """Rows of the word table."""
        return int(self.hf.text_config.vocab_size)

    @property
    def heads(self) -> tuple[str, ...]:
        """What it can be asked for, in the form of ViltConfig.heads: embeddings alone."""
        return ("embeddings",)

    @property
    def fixed_text(self) -> bool:
        """Whether every text must be filled up to `max_text_len`: SigLIP pools the last position, whatever is there."""
        return self.kind == "siglip"

    @property
    def end_id(self) -> int | None:
        """The token at which CLIP pools a text; None where it is the largest id of the text (old configurations)."""
        if self.kind != "clip" or self.hf.text_config.eos_token_id == _LEGACY_EOS:
            return None
        return int(self.hf.text_config.eos_token_id)


def pixel_faults(mean: tuple[float, ...], std: tuple[float, ...]) -> list[str]:
    """What is wrong with the normalisation of red, green and blue."""
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        return [f"pixel_mean {mean}, pixel_std {std}: expected three each, std above 0"]
    return []


def default_pixels(kind: Kind) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation that the published checkpoints of a kind use."""
    return (CLIP_MEAN, CLIP_STD) if kind == "clip" else (HALF, HALF)
