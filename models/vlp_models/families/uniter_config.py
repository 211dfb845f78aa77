"""The configuration of a UNITER model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from vlp_spec.errors import ConfigError

MODEL_TYPE = "vlpserve-uniter"
HEADS = ("vqa", "entailment", "nlvr2", "itm", "rank", "grounding", "vcr", "mlm", "mrfr", "mrc")
NLVR2_VARIANTS = ("paired-attn", "paired", "triplet")

_SIZES = (
    "hidden_size",
    "num_layers",
    "num_heads",
    "intermediate_size",
    "vocab_size",
    "max_positions",
    "num_token_types",
    "region_size",
    "num_region_classes",
)
_LISTS = ("heads", "entailment_labels")


@dataclass(frozen=True)
class UniterConfig:
    """Shape of a UNITER model; refuses what cannot be built.

    Args:
        hidden_size: width, a multiple of num_heads.
        num_layers: transformer blocks.
        num_heads: attention heads.
        intermediate_size: inner width of the perceptrons.
        vocab_size: rows of the word table.
        max_positions: tokens of a text at most, [CLS] and [SEP] included. Regions have no positions of this kind.
        heads: any of `HEADS`: answers, entailment, a statement on two pictures, matching, ranking, referring
            expressions, visual commonsense, and the three of pre-training (words, region features, region classes).
        num_token_types: 2 (text, regions); 3 where a second picture is told from the first; 4 for VCR.
        region_size: numbers of a region's features.
        num_region_classes: outputs of the head "mrc", the background (index 0) included.
        num_labels: answers of the VQA head; 0 without one.
        entailment_labels: names of the entailment head's outputs in their order; empty without one.
        nlvr2_variant: how the head "nlvr2" joins two pictures: "paired-attn", "paired" or "triplet".
        second_image_type: whether the second picture's regions have token type 2; else 1, as the first's.
        dropout: probability, while training only.
        attention_dropout: of attention weights, while training only.
        layer_norm_eps: of every layer norm.
    """

    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    vocab_size: int
    max_positions: int
    heads: tuple[str, ...]
    num_token_types: int = 2
    region_size: int = 2048
    num_region_classes: int = 1601
    num_labels: int = 0
    entailment_labels: tuple[str, ...] = ()
    nlvr2_variant: str = "paired-attn"
    second_image_type: bool = True
    dropout: float = 0.1
    attention_dropout: float = 0.1
    layer_norm_eps: float = 1e-12

    def __post_init__(self) -> None:
        for name in _LISTS:
            object.__setattr__(self, name, tuple(getattr(self, name)))
        faults = [
            f"{name}: expected a positive whole number, got {getattr(self, name)!r}"
            for name in _SIZES
            if not _is_int(getattr(self, name)) or getattr(self, name) < 1
        ]
        faults += [
            f"heads: unknown head {head!r}; known: {', '.join(HEADS)}" for head in self.heads if head not in HEADS
        ]
        if not faults:
            faults = self._contradictions() + self._label_faults()
        if faults:
            raise ConfigError(faults)

    def _contradictions(self) -> list[str]:
        faults = []
        if self.hidden_size % self.num_heads:
            faults.append(f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}")
        if self.nlvr2_variant not in NLVR2_VARIANTS:
            faults.append(f"nlvr2_variant: got {self.nlvr2_variant!r}, expected one of {', '.join(NLVR2_VARIANTS)}")
        if self.num_token_types < self._needed_token_types():
            faults.append(
                f"num_token_types is {self.num_token_types}: these heads need at least {self._needed_token_types()}"
            )
        faults += [
            f"{name}: expected 0 <= p < 1, got {getattr(self, name)!r}"
            for name in ("dropout", "attention_dropout")
            if not isinstance(getattr(self, name), int | float) or not 0 <= getattr(self, name) < 1
        ]
        return faults

    def _needed_token_types(self) -> int:
        if "vcr" in self.heads:
            return 4
        return 3 if "nlvr2" in self.heads and self.second_image_type else 2

    def _label_faults(self) -> list[str]:
        faults, labels = [], self.entailment_labels
        if not _is_int(self.num_labels) or (self.num_labels > 0) != ("vqa" in self.heads):
            faults.append(f"num_labels is {self.num_labels!r}: expected above 0 with the head 'vqa', 0 without it")
        if (len(labels) > 1) != ("entailment" in self.heads) or len(labels) == 1:
            faults.append(
                f"entailment_labels: got {len(labels)}, expected 2 or more with the head 'entailment', none without it"
            )
        if not all(isinstance(label, str) and label for label in labels) or len(set(labels)) < len(labels):
            faults.append(f"entailment_labels: expected different names, got {list(labels)!r}")
        return faults

    @property
    def max_text_len(self) -> int:
        """`max_positions`, as other families call it."""
        return self.max_positions

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> UniterConfig:
        """Build from config.json's values; the inverse of `to_dict`.

        Raises:
            ConfigError: unknown or missing keys (all at once), another model_type, or values that cannot be built.
        """
        known = {field.name for field in fields(cls)}
        required = {"hidden_size", "num_layers", "num_heads", "intermediate_size", "vocab_size", "max_positions"}
        required.add("heads")
        faults = [f"unknown key {key!r}" for key in values if key not in known | {"model_type"}]
        faults += [f"missing key {key!r}" for key in sorted(required - set(values))]
        faults += [
            f"{key}: expected a list, got {values[key]!r}"
            for key in _LISTS
            if key in values and not isinstance(values[key], list | tuple)
        ]
        if values.get("model_type", MODEL_TYPE) != MODEL_TYPE:
            faults.append(f"model_type: expected {MODEL_TYPE!r}, got {values['model_type']!r}")
        if faults:
            raise ConfigError(faults)
        return cls(**{key: value for key, value in values.items() if key != "model_type"})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for config.json, model_type first."""
        return {"model_type": MODEL_TYPE, **asdict(self), **{name: list(getattr(self, name)) for name in _LISTS}}


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
