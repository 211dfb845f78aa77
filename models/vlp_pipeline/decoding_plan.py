"""How one text is generated: what a caller asked for, with what the model does by itself filled in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from vlp_spec.errors import InvalidArgumentError, TooLargeError
from vlp_spec.tasks import Decoding

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingPlan:
    """A `Decoding` without gaps, for one model and one prompt.

    Attributes:
        max_tokens: of the text, the prompt not counted and the end counted, 1 or more.
        min_tokens: before the end, 0 to `max_tokens`.
        num_beams: texts kept side by side; 1 where tokens are drawn.
        num_texts: texts wanted; no more than beams, unless tokens are drawn.
        length_penalty: a text's log-probability is divided by its length to this power when beams are compared.
        temperature: above 0 tokens are drawn by chance.
        top_p: share of the probability that the tokens drawn among have, above 0 to 1.
        seed: of the drawing; None for another one each time.
        end_id: the token that ends a text.
        pad_id: the token that a finished row reads.
        repetition_penalty: above 0; a token that stands in the prompt or the text already has its score divided by
            this where it is positive, multiplied where it is negative (Keskar et al. 2019, arXiv:1909.05858, sec. 4.1).

    Raises:
        InvalidArgumentError: a value is out of range, or two exclude each other.
    """

    max_tokens: int
    min_tokens: int
    num_beams: int
    num_texts: int
    length_penalty: float
    temperature: float
    top_p: float
    seed: int | None
    end_id: int
    pad_id: int
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        faults = {
            "max_tokens": (self.max_tokens >= 1, "1 or more"),
            "min_tokens": (0 <= self.min_tokens <= self.max_tokens, f"0 to max_tokens, {self.max_tokens}"),
            "num_beams": (
                self.num_beams == 1 or (self.num_beams > 1 and not self.samples),
                "1 or more, and 1 with a temperature",
            ),
            "num_texts": (
                self.num_texts >= 1 and (self.samples or self.num_texts <= self.num_beams),
                f"1 to num_beams, {self.num_beams}, unless there is a temperature",
            ),
            "temperature": (self.temperature >= 0, "0 or more"),
            "top_p": (0 < self.top_p <= 1, "above 0, 1 at most"),
            "repetition_penalty": (self.repetition_penalty > 0, "above 0"),
        }
        for name, (fits, expected) in faults.items():
            if not fits:
                raise InvalidArgumentError(f"{name}: got {getattr(self, name)}, expected {expected}", field=name)

    @property
    def samples(self) -> bool:
        """Whether tokens are drawn by chance."""
        return self.temperature > 0


def fill_decoding(
    decoding: Decoding,
    defaults: Decoding,
    *,
    num_texts: int,
    room: int,
    end_id: int,
    pad_id: int,
    repetition_penalty: float = 1.0,
) -> DecodingPlan:
    """Fill the gaps of a request.

    A default gives way to what was asked: it shrinks to the room that is left, there are as many beams as texts, and
    none where tokens are drawn.

    Args:
        decoding: as asked.
        defaults: the model's own; what is None there is: as many tokens as there is room, 0, 1 beam, a penalty of 1.
        num_texts: texts wanted.
        room: tokens that can follow the prompt: the last one is never read, so positions - prompt + 1.
        end_id: the token that ends a text.
        pad_id: the token that a finished row reads.
        repetition_penalty: see `DecodingPlan`.

    Raises:
        TooLargeError: the prompt leaves no room.
        InvalidArgumentError: more tokens are asked for than fit, or what is asked excludes itself.
    """
    if room < 1:
        raise TooLargeError("prompt: longer than the model reads; shorten it")
    if decoding.max_tokens is not None and decoding.max_tokens > room:
        raise InvalidArgumentError(
            f"max_tokens: got {decoding.max_tokens}, behind this prompt the model has room for {room}",
            field="max_tokens",
        )
    max_tokens = min(_first(decoding.max_tokens, defaults.max_tokens, room), room)
    if decoding.num_beams is not None:
        num_beams = decoding.num_beams
    else:
        num_beams = 1 if decoding.samples else max(_first(defaults.num_beams, 1), num_texts)
    return DecodingPlan(
        max_tokens=max_tokens,
        min_tokens=_first(decoding.min_tokens, min(_first(defaults.min_tokens, 0), max_tokens)),
        num_beams=num_beams,
        num_texts=num_texts,
        length_penalty=_first(decoding.length_penalty, defaults.length_penalty, 1.0),
        temperature=decoding.temperature,
        top_p=decoding.top_p,
        seed=decoding.seed,
        end_id=end_id,
        pad_id=pad_id,
        repetition_penalty=repetition_penalty,
    )


def _first(*values: _Number | None) -> _Number:
    """The first that is not None; the last never is."""
    return next(value for value in values if value is not None)
