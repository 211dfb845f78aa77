"""The configuration of a BLIP: transformers' own, and what else its processors and its texts need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from transformers import BlipConfig as TransformersBlipConfig
from transformers.activations import ACT2FN
from vlp_spec.errors import ConfigError

from vlp_models.families.dual_encoder_config import pixel_faults

HEADS = ("caption", "vqa", "match", "reasoning")
"""caption: a decoder that looks at the picture. vqa: an encoder that looks at it, and a decoder that looks at the
question. match: an encoder, ITM head and ITC projections. reasoning: an encoder that looks at two pictures."""
_SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_TEXT_SIZES = ("vocab_size", "encoder_hidden_size", "max_position_embeddings")
_PICTURE_SIZES = ("image_size", "patch_size")
_WIDEST = 65_536
_LARGEST = {"num_hidden_layers": 256, "vocab_size": 4_000_000, "image_size": 8192}
_WITH_ENCODER = frozenset(("vqa", "match", "reasoning"))
_WITH_DECODER = frozenset(("caption", "vqa"))


@dataclass(frozen=True)
class TokenIds:
    """The ids of the tokens that BLIP puts in by itself; they come from the tokenizer.

    Attributes:
        start: [DEC], before every text that is generated.
        fuse: [ENC], in place of [CLS] where a text looks at a picture.
        cls: begins a text that is read by itself.
        end: [SEP], after every text.
        pad: [PAD].
    """

    start: int
    fuse: int
    cls: int
    end: int
    pad: int


@dataclass(frozen=True)
class BlipConfig:
    """What a BLIP is; refuses what cannot be built or served.

    Attributes:
        hf: transformers' BlipConfig.
        heads: some of HEADS.
        tokens: see TokenIds.
        max_text_len: tokens that an encoder reads, special ones included; 35 in the published code.
        pixel_mean: of red, green and blue after division by 255.
        pixel_std: likewise.
        prompt: how captions begin; "a picture of " in the published code, and it is no part of the answer.
        generation: how it writes by itself, some fields of WritingSettings; where one is missing, the published code's
            way holds.
        merged_from: NLVR2: the first block that joins what it saw in both pictures by a layer of its own; below it
            takes their mean.
        tied_words: whether the decoder says words by the table that it reads them with, as the published code has it;
            else by a matrix of its own, which transformers before version 5 trains.
    """

    hf: TransformersBlipConfig
    heads: tuple[str, ...]
    tokens: TokenIds
    max_text_len: int
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    prompt: str = ""
    generation: Mapping[str, float] = field(default_factory=dict)
    merged_from: int = 6
    tied_words: bool = True

    def __post_init__(self) -> None:
        faults = self._size_faults() or self._text_faults() + self._picture_faults()
        if faults:
            raise ConfigError(faults)

    def _size_faults(self) -> list[str]:
        """Sizes that nothing can be made of, before anything is: files say what they like."""
        text, vision = self.hf.text_config, self.hf.vision_config
        sizes = {
            "image_text_hidden_size": self.hf.image_text_hidden_size,
            **{f"text_config.{name}": getattr(text, name) for name in (*_SIZES, *_TEXT_SIZES)},
            **{f"vision_config.{name}": getattr(vision, name) for name in (*_SIZES, *_PICTURE_SIZES)},
        }
        return [
            f"{name} is {str(value)[:40]}, expected 1 to {_LARGEST.get(name.rpartition('.')[2], _WIDEST)}"
            for name, value in sizes.items()
            if type(value) is not int or not 1 <= value <= _LARGEST.get(name.rpartition(".")[2], _WIDEST)
        ]

    def _text_faults(self) -> list[str]:
        text = self.hf.text_config
        faults = [f"heads: {head!r} is none of {', '.join(HEADS)}" for head in self.heads if head not in HEADS]
        if not self.heads:
            faults.append("heads: none")
        if not 3 <= self.max_text_len <= text.max_position_embeddings:
            faults.append(
                f"max_text_len is {self.max_text_len}, the model has {text.max_position_embeddings} positions"
            )
        ids = {token.name: getattr(self.tokens, token.name) for token in fields(self.tokens)}
        faults += [
            f"token {name} is {value}, the model knows {text.vocab_size} words"
            for name, value in ids.items()
            if not 0 <= value < text.vocab_size
        ]
        if text.hidden_size % text.num_attention_heads:
            faults.append(f"text: width {text.hidden_size} is no multiple of {text.num_attention_heads} heads")
        if {"caption", "vqa"} <= set(self.heads) and text.hidden_size != self.hf.vision_config.hidden_size:
            faults.append("heads: one decoder cannot look at pictures and at questions of another width")
        if text.hidden_act != "gelu":
            faults.append(f"text: hidden_act is {text.hidden_act!r}, only gelu is supported")
        return faults

    def _picture_faults(self) -> list[str]:
        vision = self.hf.vision_config
        faults = []
        if vision.hidden_act not in ACT2FN:
            faults.append(f"vision: hidden_act is {vision.hidden_act!r}, which transformers does not know")
        if vision.patch_size > vision.image_size:
            faults.append(f"vision: patch_size {vision.patch_size} is larger than image_size {vision.image_size}")
        if vision.hidden_size % vision.num_attention_heads:
            faults.append(f"vision: width {vision.hidden_size} is no multiple of {vision.num_attention_heads} heads")
        return faults + pixel_faults(self.pixel_mean, self.pixel_std)

    @property
    def has_encoder(self) -> bool:
        """Whether a head needs the text encoder."""
        return bool(_WITH_ENCODER & set(self.heads))

    @property
    def has_decoder(self) -> bool:
        """Whether a head needs the text decoder."""
        return bool(_WITH_DECODER & set(self.heads))

    @property
    def image_size(self) -> int:
        """Side of the picture that the model reads, in pixels."""
        return int(self.hf.vision_config.image_size)

    @property
    def patch_size(self) -> int:
        """Side of a patch, in pixels."""
        return int(self.hf.vision_config.patch_size)

    @property
    def image_states(self) -> int:
        """Positions of a picture: its patches and the class token."""
        return int((self.image_size // self.patch_size) ** 2) + 1

    @property
    def vocab_size(self) -> int:
        """Rows of the word table."""
        return int(self.hf.text_config.vocab_size)

    @property
    def max_positions(self) -> int:
        """Tokens that a text may have, the generated ones included."""
        return int(self.hf.text_config.max_position_embeddings)

    @property
    def dimension(self) -> int:
        """Numbers in an embedding of the contrastive projections."""
        return int(self.hf.image_text_hidden_size)

    @property
    def decoder_context(self) -> int:
        """Width of what the decoder looks at: the question's states in a VQA model, the picture's otherwise.

        transformers' BlipForQuestionAnswering takes the picture's for both, which works where the widths are equal.
        """
        sizes = self.hf.text_config if "vqa" in self.heads else self.hf.vision_config
        return int(sizes.hidden_size)

    def block_sizes(self, context_size: int) -> dict[str, Any]:
        """Arguments of a MedBlock that looks at states of this width."""
        text = self.hf.text_config
        return {
            "hidden_size": text.hidden_size,
            "num_heads": text.num_attention_heads,
            "context_size": context_size,
            "intermediate_size": text.intermediate_size,
            "layer_norm_eps": text.layer_norm_eps,
            "dropout": text.hidden_dropout_prob,
            "attention_dropout": text.attention_probs_dropout_prob,
        }
