# Made from vlp_client/aio/captioning.py by clients/python/write_sync_client.py: change it there.
"""The calls that say what a picture shows, at once or word by word."""

from __future__ import annotations

from types import TracebackType
from typing import Self, Unpack

from vlp_client.asking import with_model
from vlp_client.calls import Call
from vlp_client.caption_records import CaptionAnswer, CaptionOptions, caption_answer, read_captions, split_options
from vlp_client.errors import ProtocolError
from vlp_client.pictures import ImageSource
from vlp_client.server_events import DONE_EVENT
from vlp_client.subject import subject_of
from vlp_client.sync.asking import Asking
from vlp_client.sync.transport import Events


class CaptionStream:
    """The words of a caption as they are written: each is to be appended to those before.

    At the end, or before by `close`, its connection is given back; so it is a context manager.

    Args:
        events: not read yet.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
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
                raise ProtocolError("stream_caption: an event that is not this API's") from error
        raise StopIteration

    def close(self) -> None:
        """Stop reading; the server stops writing, too."""
        self._events.close()

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

        Example:
            >>> reply = client.caption(photo, num_beams=3)
            >>> reply.best
            '3 53 52 1 21 20 33 48'
        """
        model, deadline_s, fields = split_options(prompt, options)
        subject = subject_of(image)
        return self._ask("caption", read_captions, subject, fields, model=model, deadline_s=deadline_s)

    def stream_caption(
        self, image: ImageSource, prompt: str | None = None, **options: Unpack[CaptionOptions]
    ) -> CaptionStream:
        """Say what a picture shows, word by word; arguments and errors as `caption`.

        Returns when the first words are there. With several beams or captions nothing is certain before the end, so
        the words come at once there.

        Example:
            >>> text = ""
            >>> with client.stream_caption(photo) as words:
            ...     for piece in words:  # as it is written; leaving early ends the server's work
            ...         text += piece
            >>> text, words.answer.best
            ('47 61', '47 61')
        """
        model, deadline_s, fields = split_options(prompt, options)
        call = Call(
            verb="stream_caption",
            read=read_captions,
            subject=subject_of(image),
            fields=with_model(fields, model),
            deadline_s=deadline_s,
        )
        return CaptionStream(self._sender.stream(call))
