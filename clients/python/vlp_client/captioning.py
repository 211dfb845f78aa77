"""The calls that say what a picture shows, at once or word by word."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, TypedDict, Unpack

import httpx

from vlp_client.asking import Asking
from vlp_client.caption_records import CaptionAnswer, caption_answer
from vlp_client.connection import deadline_headers, timings_of
from vlp_client.errors import ProtocolError
from vlp_client.event_stream import DONE_EVENT, EVENT_MEDIA_TYPE, events_of
from vlp_client.pictures import ImageSource
from vlp_client.subject import subject_of

_PATH = "/v1/caption"


class CaptionOptions(TypedDict, total=False):
    """How the words are chosen, and by whom; what is left out is the model's own default.

    Attributes:
        max_tokens: of a caption, the prompt not counted.
        min_tokens: before a caption may end.
        num_beams: texts that are kept side by side; 1 takes the likeliest token at each step.
        num_captions: how many; at least as many beams are needed, unless tokens are drawn.
        length_penalty: above 0 long texts win among beams, below 0 short ones.
        temperature: above 0 tokens are drawn by chance, the more freely the higher.
        top_p: drawn is among the likeliest tokens that have so much of the probability.
        seed: the same one draws the same text.
        model: name, name@version or name@alias; None for the server's default.
        deadline_s: after which the server stops working on it; None for the server's default.
    """

    max_tokens: int | None
    min_tokens: int | None
    num_beams: int | None
    num_captions: int | None
    length_penalty: float | None
    temperature: float | None
    top_p: float | None
    seed: int | None
    model: str | None
    deadline_s: float | None


class CaptionStream:
    """The words of a caption as they are written: each is to be appended to those before.

    At the end, or before by `close`, its connection is given back; so it is a context manager.

    Args:
        response: not read yet.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._events = events_of(response)
        self._answer: CaptionAnswer | None = None

    @property
    def answer(self) -> CaptionAnswer | None:
        """The whole answer once the words are at their end, else None."""
        return self._answer

    def __iter__(self) -> Self:
        """The stream itself: the words can be read once."""
        return self

    def __next__(self) -> str:
        """The next words.

        Raises:
            VlpClientError: the server failed on the way, or the connection broke; see `vlp_client.errors`.
        """
        for name, document in self._events:
            try:
                if name != DONE_EVENT:
                    return str(document["text"])
                self._answer = caption_answer(document, dict(document["timings_ms"]))
            except (ValueError, KeyError, TypeError) as error:
                self.close()
                raise ProtocolError(f"{self._response.url}: an event that is not this API's") from error
        raise StopIteration

    def close(self) -> None:
        """Stop reading; the server stops writing, too."""
        self._events.close()
        self._response.close()

    def __enter__(self) -> Self:
        """The stream itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()


class Captioning(Asking):
    """A part of `Client`."""

    def caption(
        self, image: ImageSource, prompt: str | None = None, **options: Unpack[CaptionOptions]
    ) -> CaptionAnswer:
        """Say what a picture shows.

        Args:
            image: path, bytes, binary file, PIL image, or an http(s) URL, which the server fetches where it may.
            prompt: how the text begins; None for the model's own beginning.
            options: see `CaptionOptions`.

        Raises:
            VlpClientError: see `vlp_client.errors`.
            OSError: the file cannot be read.
            TypeError: no picture in any form that is known here.
        """
        model, deadline_s, fields = _split(prompt, options)
        return self._ask(
            _PATH,
            lambda body, headers: caption_answer(body, timings_of(headers)),
            subject_of(image),
            fields,
            model=model,
            deadline_s=deadline_s,
        )

    def stream_caption(
        self, image: ImageSource, prompt: str | None = None, **options: Unpack[CaptionOptions]
    ) -> CaptionStream:
        """Say what a picture shows, word by word; arguments and errors as `caption`.

        Returns when the first words are there. With several beams or captions nothing is certain before the end, so
        the words come at once there.
        """
        model, deadline_s, fields = _split(prompt, options)
        if model is not None:
            fields["model"] = model
        content = subject_of(image).content({**fields, "stream": True})
        response = self._connection.stream("POST", _PATH, headers=deadline_headers(deadline_s), **content)
        if not response.headers.get("Content-Type", "").startswith(EVENT_MEDIA_TYPE):
            response.close()
            raise ProtocolError(f"{response.url}: status {response.status_code} with a body that is no stream")
        return CaptionStream(response)


def _split(prompt: str | None, options: CaptionOptions) -> tuple[str | None, float | None, dict[str, Any]]:
    """Model, deadline, and the other fields that were given."""
    given: dict[str, Any] = {"prompt": prompt, **options}
    model, deadline_s = given.pop("model", None), given.pop("deadline_s", None)
    return model, deadline_s, {name: value for name, value in given.items() if value is not None}
