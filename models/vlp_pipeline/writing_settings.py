"""How a model writes by itself: `Deployment.head` of captioners, and of models that write their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import Decoding

from vlp_pipeline.decoding_plan import DecodingPlan, fill_decoding
from vlp_pipeline.settings import read_settings


@dataclass(frozen=True, slots=True)
class WritingSettings:
    """A model's own decoding, and how its texts begin.

    Attributes:
        max_tokens: of a text, what it begins with not counted and its end counted. (`max_length` and `min_length` of
            transformers and of the published code count the beginning too.)
        min_tokens: before its end.
        num_beams: texts kept side by side.
        length_penalty: a text's log-probability is divided by its length to this power when beams are compared.
        repetition_penalty: 1 for none; see DecodingPlan.
        prompt: how captions begin unless a caller says otherwise; no part of the answer.
    """

    max_tokens: int
    min_tokens: int = 0
    num_beams: int = 1
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    prompt: str = ""

    def __post_init__(self) -> None:
        if not self.repetition_penalty > 0:
            raise ValueError(f"repetition_penalty {self.repetition_penalty}, expected above 0")
        try:
            Decoding(self.max_tokens, self.min_tokens, self.num_beams, self.length_penalty)
        except InvalidArgumentError as error:
            raise ValueError(error.message) from error

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any], place: str = "deployment.head") -> WritingSettings:
        """Read `Deployment.head`, or what `place` says in messages.

        Raises:
            ArtifactError: an unknown or missing key, or a value that does not fit.
        """
        # JSON writes 1.0 as it likes.
        numbers = {
            key: float(value) if key.endswith("_penalty") and type(value) is int else value
            for key, value in raw.items()
        }
        return read_settings(cls, numbers, place)

    def plan(self, decoding: Decoding, *, num_texts: int, room: int, end_id: int, pad_id: int) -> DecodingPlan:
        """A request's decoding with this one where it says nothing; see `fill_decoding`."""
        own = Decoding(self.max_tokens, self.min_tokens, self.num_beams, self.length_penalty)
        return fill_decoding(
            decoding,
            own,
            num_texts=num_texts,
            room=room,
            end_id=end_id,
            pad_id=pad_id,
            repetition_penalty=self.repetition_penalty,
        )
