"""A checked body of POST /v1/chat/completions -> what is asked, in the words of the tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import MAX_CAPTIONS, MAX_TOKENS, CaptionQuery, Decoding, VqaQuery

from vlp_server.core.call_checks import check_text
from vlp_server.http.chat_fields import MAX_STOPS, ChatJson
from vlp_server.http.chat_messages import ChatTurn, read_turn
from vlp_server.intake.texts import check_model

ANY_MODEL = "auto"
_MAX_STOP_CHARS = 1000
_MAX_TEMPERATURE = 2.0


@dataclass(frozen=True, slots=True)
class ChatAsk:
    """What is asked.

    Attributes:
        model: None for the default model of the task.
        answers: how many are wanted.
        max_tokens: of each; None for the model's own number.
        stops: texts before which an answer ends.
        include_usage: whether a stream ends with the usage.
    """

    turn: ChatTurn
    model: str | None
    answers: int
    max_tokens: int | None
    temperature: float
    top_p: float
    seed: int | None
    stops: tuple[str, ...]
    stream: bool
    include_usage: bool

    def question(self, max_chars: int) -> VqaQuery:
        """As a question.

        Raises:
            TooLargeError: longer than the limit.
        """
        check_text("question", self.turn.text, max_chars)
        return VqaQuery(self.turn.text, top_k=self.answers)

    def caption(self, max_chars: int, room: int) -> CaptionQuery:
        """As the beginning of a caption.

        Args:
            max_chars: of the beginning.
            room: the most tokens that the model can write.

        Raises:
            TooLargeError: longer than the limit.
        """
        check_text("prompt", self.turn.text, max_chars)
        most = None if self.max_tokens is None else max(1, min(self.max_tokens, room, MAX_TOKENS))
        # A default of the model's own for the fewest must not be over the most: it gives way by itself.
        decoding = Decoding(max_tokens=most, temperature=self.temperature, top_p=self.top_p, seed=self.seed)
        return CaptionQuery(self.turn.text, self.answers, decoding)


async def chat_ask(fields: ChatJson) -> ChatAsk:
    """What checked fields ask.

    Raises:
        RequestError: a number out of its range, messages that ask nothing, a picture that cannot be read.
    """
    check_model(fields.model)
    most = _one_limit(fields)
    answers = 1 if fields.n is None else fields.n
    _check_range("n", answers, 1, MAX_CAPTIONS)
    top_p = 1.0 if fields.top_p is None else fields.top_p
    # What OpenAI's own models do: without a temperature words are drawn.
    temperature = fields.temperature if fields.temperature is not None else (1.0 if top_p < 1 else 0.0)
    _check_range("temperature", temperature, 0.0, _MAX_TEMPERATURE)
    if not 0 < top_p <= 1:
        raise InvalidArgumentError(f"top_p: got {top_p}, expected above 0, 1 at most", field="top_p")
    if fields.seed is not None:
        _check_range("seed", fields.seed, 0, 2**63 - 1)
    stream = bool(fields.stream)
    if fields.stream_options is not None and not stream:
        raise InvalidArgumentError("stream_options: only with `stream`", field="stream_options")
    return ChatAsk(
        turn=await read_turn(fields.messages),
        model=None if fields.model == ANY_MODEL else fields.model,
        answers=answers,
        max_tokens=most,
        temperature=temperature,
        # The likeliest token is in every such set.
        top_p=top_p if temperature > 0 else 1.0,
        seed=fields.seed,
        stops=_stops(fields.stop),
        stream=stream,
        include_usage=stream and fields.stream_options is not None and bool(fields.stream_options.include_usage),
    )


def _one_limit(fields: ChatJson) -> int | None:
    """The limit of tokens, under either name."""
    old, new = fields.max_tokens, fields.max_completion_tokens
    for name, value in (("max_tokens", old), ("max_completion_tokens", new)):
        if value is not None and value < 1:
            raise InvalidArgumentError(f"{name}: got {value}, expected 1 or more", field=name)
    if old is not None and new is not None and old != new:
        raise InvalidArgumentError(
            "max_tokens, max_completion_tokens: both are given, and differ; give one of them", field="max_tokens"
        )
    return old if new is None else new


def _stops(given: Any) -> tuple[str, ...]:
    stops = [] if given is None else [given] if isinstance(given, str) else given
    if not isinstance(stops, list) or len(stops) > MAX_STOPS or not all(isinstance(stop, str) for stop in stops):
        raise InvalidArgumentError(f"stop: expected a text, or a list of up to {MAX_STOPS}", field="stop")
    for stop in stops:
        if not stop:
            raise InvalidArgumentError("stop: an empty text", field="stop")
        check_text("stop", stop, _MAX_STOP_CHARS)
    return tuple(stops)


def _check_range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InvalidArgumentError(f"{name}: got {value}, expected {least} to {most}", field=name)
