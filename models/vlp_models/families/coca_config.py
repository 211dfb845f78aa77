"""The configuration of a CoCa: the parts of a BLIP captioner, and how they are put together otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from transformers import BlipConfig as TransformersBlipConfig
from vlp_spec.errors import ConfigError

from vlp_models.families.blip_config import BlipConfig, TokenIds

MODEL_TYPE = "vlpserve-coca"


@dataclass(frozen=True)
class CocaConfig:
    """Shape of a CoCa; refuses what cannot be built.

    Attributes:
        parts: pictures and texts as a BLIP with the head "caption" has them. Its texts' blocks are those of both halves
            here, and its `dimension` is that of the embeddings.
        unimodal_layers: the first so many blocks read the text alone; the others look at the picture too.
        num_queries: states of a picture that the text looks at.
    """

    parts: BlipConfig
    unimodal_layers: int
    num_queries: int

    def __post_init__(self) -> None:
        layers = self.parts.hf.text_config.num_hidden_layers
        faults = []
        if self.parts.heads != ("caption",):
            faults.append(f"heads: got {', '.join(self.parts.heads)}, expected caption alone")
        if not 1 <= self.unimodal_layers < layers:
            faults.append(f"unimodal_layers: got {self.unimodal_layers}, expected 1 to {layers - 1} of {layers} blocks")
        if self.num_queries < 1:
            faults.append(f"num_queries: got {self.num_queries}, expected 1 or more")
        if faults:
            raise ConfigError(faults)

    @property
    def hf(self) -> TransformersBlipConfig:
        """Sizes of the picture side and of the text side, as transformers has them for BLIP."""
        return self.parts.hf

    @property
    def heads(self) -> tuple[str, ...]:
        """What the model can do."""
        return ("caption", "embeddings")

    @property
    def max_text_len(self) -> int:
        """Tokens that a text may have, special ones included."""
        return self.parts.max_text_len

    @property
    def vocab_size(self) -> int:
        """Rows of the word table."""
        return self.parts.vocab_size

    @property
    def dimension(self) -> int:
        """Numbers in an embedding."""
        return self.parts.dimension

    def to_dict(self) -> dict[str, Any]:
        """The form of config.json."""
        parts = self.parts
        return {
            "model_type": MODEL_TYPE,
            "vision_config": parts.hf.vision_config.to_dict(),
            "text_config": parts.hf.text_config.to_dict(),
            "dimension": parts.dimension,
            "max_text_len": parts.max_text_len,
            "pixel_mean": list(parts.pixel_mean),
            "pixel_std": list(parts.pixel_std),
            "unimodal_layers": self.unimodal_layers,
            "num_queries": self.num_queries,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], tokens: TokenIds) -> CocaConfig:
        """Read what `to_dict` gave.

        Args:
            values: of config.json.
            tokens: of the checkpoint's tokenizer.

        Raises:
            ConfigError: a key is missing, or a value that cannot be.
        """
        try:
            parts = BlipConfig(
                hf=TransformersBlipConfig(
                    vision_config=dict(values["vision_config"]),
                    text_config=dict(values["text_config"]),
                    image_text_hidden_size=int(values["dimension"]),
                ),
                heads=("caption",),
                tokens=tokens,
                max_text_len=int(values["max_text_len"]),
                pixel_mean=_three(values["pixel_mean"]),
                pixel_std=_three(values["pixel_std"]),
            )
            return cls(parts, int(values["unimodal_layers"]), int(values["num_queries"]))
        except KeyError as error:
            raise ConfigError([f"{error.args[0]}: missing"]) from error
        except (TypeError, ValueError) as error:
            raise ConfigError([str(error)]) from error


def stated_vocabulary(values: Mapping[str, Any]) -> int:
    """Rows of the word table that a config.json states.

    Raises:
        ConfigError: none.
    """
    text = values.get("text_config")
    rows = text.get("vocab_size") if isinstance(text, Mapping) else None
    if not isinstance(rows, int):
        raise ConfigError([f"text_config.vocab_size: got {rows!r}, expected a number"])
    return rows


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
