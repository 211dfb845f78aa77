"""What the weights of a BLIP do not tell: our own key of its config.json, and what holds where it is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from vlp_pipeline.clip_image import ClipImageSettings
from vlp_pipeline.writing_settings import WritingSettings
from vlp_spec.errors import ArtifactError
from vlp_spec.tasks import MAX_TOKENS

from vlp_models.checkpoints.answer_list import read_answers
from vlp_models.checkpoints.checkpoint import GivenFiles

OUR_KEY = "vlpserve"
_PROMPT = "a picture of "
_ENCODER_TOKENS = 35
Value = TypeVar("Value", int, str)


@dataclass(frozen=True)
class OwnSettings:
    """What a config.json of ours says under "vlpserve"; None where it is another's.

    Attributes:
        heads: some of blip_config.HEADS.
        max_text_len: see BlipConfig.
        prompt: see BlipConfig.
        answers: of a VQA model that is to choose among them.
        generation: see BlipConfig.
    """

    heads: tuple[str, ...] | None = None
    max_text_len: int | None = None
    prompt: str | None = None
    answers: tuple[str, ...] | None = None
    generation: Mapping[str, float] | None = None

    @classmethod
    def from_json(cls, raw: Any, path: Path) -> OwnSettings:
        """Read the key's value.

        Raises:
            ArtifactError: a key is unknown, or a value of a wrong type.
        """
        if not isinstance(raw, dict) or (unknown := sorted(raw.keys() - {field.name for field in fields(cls)})):
            found = f"unknown key {', '.join(unknown)}" if isinstance(raw, dict) else f"got {type(raw).__name__}"
            raise ArtifactError(
                f"{path}: {OUR_KEY}: {found}; expected {', '.join(field.name for field in fields(cls))}"
            )
        return cls(
            heads=_strings(raw, "heads", path),
            max_text_len=_one(raw, "max_text_len", int, path),
            prompt=_one(raw, "prompt", str, path),
            answers=_strings(raw, "answers", path),
            generation=_generation(raw.get("generation"), path),
        )


def _generation(raw: Any, path: Path) -> Mapping[str, float] | None:
    """Some of the fields of WritingSettings, checked by it."""
    if raw is None:
        return None
    place = f"{path}: {OUR_KEY}.generation"
    if not isinstance(raw, dict) or "prompt" in raw:
        raise ArtifactError(f"{place}: got {raw!r:.80}, expected max_tokens, min_tokens, num_beams and penalties")
    WritingSettings.from_mapping({"max_tokens": MAX_TOKENS, **raw}, place)
    return dict(raw)


def encoder_tokens(heads: Sequence[str], positions: int) -> int:
    """What the published code cuts questions and captions to; statements about two pictures it does not cut."""
    return positions if "reasoning" in heads else min(_ENCODER_TOKENS, positions)


def default_prompt(heads: Sequence[str]) -> str:
    """How the published captioners begin (configs of salesforce/BLIP)."""
    return _PROMPT if "caption" in heads else ""


def blip_answers(heads: Sequence[str], given: GivenFiles, own: tuple[str, ...] | None = None) -> tuple[str, ...] | None:
    """What a VQA model chooses among: the given file's answers, else the checkpoint's own; None: it writes freely."""
    if "vqa" not in heads:
        return None
    return own if given.labels is None else read_answers(given.labels)


def blip_image_settings(image: ClipImageSettings) -> dict[str, Any]:
    """The form of `Deployment.image`."""
    return {"type": "clip", "height": image.height, "width": image.width, "resample": image.resample}


def _one(raw: Mapping[str, Any], key: str, kind: type[Value], path: Path) -> Value | None:
    value = raw.get(key)
    # Not isinstance: true is no number of tokens.
    if value is not None and type(value) is not kind:
        raise ArtifactError(f"{path}: {OUR_KEY}.{key}: got {value!r:.80}, expected {kind.__name__}")
    return value


def _strings(raw: Mapping[str, Any], key: str, path: Path) -> tuple[str, ...] | None:
    value = raw.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ArtifactError(f"{path}: {OUR_KEY}.{key}: got {value!r:.80}, expected a list of strings")
    return tuple(value)
