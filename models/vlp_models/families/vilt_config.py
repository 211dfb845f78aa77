"""The configuration of a ViLT model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from vlp_spec.errors import ConfigError

MODEL_TYPE = "vlpserve-vilt"
HEADS = ("vqa", "nlvr2", "itm", "mlm", "irtr")


@dataclass(frozen=True)
class ViltConfig:
    """Shape of a ViLT model; refuses what cannot be built.

    Args:
        hidden_size: width, a multiple of num_heads.
        num_layers: transformer blocks.
        num_heads: attention heads.
        patch_size: side of a patch in pixels.
        image_size: side in pixels of the square picture that the position grid stands for
            (grid side = image_size // patch_size). Pictures of other sizes are interpolated.
        vocab_size: rows of the word table.
        max_text_len: tokens at most, [CLS] and [SEP] included.
        heads: any of "vqa", "nlvr2", "itm", "mlm", "irtr".
        num_labels: answers of the VQA head; 0 without one.
        num_token_types: 2, or 3 where a second picture is read (NLVR2).
        mlp_ratio: inner width of the perceptrons over hidden_size.
        dropout: probability, while training only.
        layer_norm_eps: of blocks and final norm.
        text_layer_norm_eps: of the text embeddings and the MLM transform.
        head_layer_norm_eps: of the classifiers.
    """

    hidden_size: int
    num_layers: int
    num_heads: int
    patch_size: int
    image_size: int
    vocab_size: int
    max_text_len: int
    heads: tuple[str, ...]
    num_labels: int = 0
    num_token_types: int = 2
    mlp_ratio: float = 4
    dropout: float = 0.1
    layer_norm_eps: float = 1e-6
    text_layer_norm_eps: float = 1e-12
    head_layer_norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        object.__setattr__(self, "heads", tuple(self.heads))
        faults = [
            f"{name}: expected a positive whole number, got {getattr(self, name)!r}"
            for name in (
                "hidden_size",
                "num_layers",
                "num_heads",
                "patch_size",
                "image_size",
                "vocab_size",
                "max_text_len",
            )
            if not _is_int(getattr(self, name)) or getattr(self, name) < 1
        ]
        faults += [
            f"heads: unknown head {head!r}; known: {', '.join(HEADS)}" for head in self.heads if head not in HEADS
        ]
        if not faults:
            faults = self._contradictions()
        if faults:
            raise ConfigError(faults)

    def _contradictions(self) -> list[str]:
        faults = []
        if self.hidden_size % self.num_heads:
            faults.append(f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}")
        if self.image_size < self.patch_size:
            faults.append(f"image_size {self.image_size} is smaller than patch_size {self.patch_size}")
        if not _is_int(self.num_labels) or (self.num_labels > 0) != ("vqa" in self.heads):
            faults.append(f"num_labels is {self.num_labels!r}: expected above 0 with the head 'vqa', 0 without it")
        smallest = 3 if "nlvr2" in self.heads else 2
        if not _is_int(self.num_token_types) or self.num_token_types < smallest:
            faults.append(f"num_token_types is {self.num_token_types!r}: these heads need at least {smallest}")
        if not 0 <= self.dropout < 1:
            faults.append(f"dropout: expected 0 <= p < 1, got {self.dropout!r}")
        return faults

    @property
    def grid_side(self) -> int:
        """Side of the learned position grid, in patches."""
        return self.image_size // self.patch_size

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ViltConfig:
        """Build from config.json's values; the inverse of `to_dict`.

        Raises:
            ConfigError: unknown or missing keys (all at once), another model_type, or values that cannot be built.
        """
        known = {field.name for field in fields(cls)}
        required = {"hidden_size", "num_layers", "num_heads", "patch_size", "image_size", "vocab_size", "max_text_len"}
        required.add("heads")
        faults = [f"unknown key {key!r}" for key in values if key not in known | {"model_type"}]
        faults += [f"missing key {key!r}" for key in sorted(required - set(values))]
        if values.get("model_type", MODEL_TYPE) != MODEL_TYPE:
            faults.append(f"model_type: expected {MODEL_TYPE!r}, got {values['model_type']!r}")
        if faults:
            raise ConfigError(faults)
        return cls(**{key: value for key, value in values.items() if key != "model_type"})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for config.json, model_type first."""
        return {"model_type": MODEL_TYPE, **asdict(self), "heads": list(self.heads)}


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
