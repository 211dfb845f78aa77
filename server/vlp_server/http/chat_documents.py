"""The documents that answer a chat, as OpenAI's clients read them: the whole, or chunk by chunk."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the answers.

    Attributes:
        tokens: that it has.
        ended: False where it was cut at the limit of tokens.
    """

    text: str
    tokens: int
    ended: bool

    @property
    def finish_reason(self) -> str:
        """Why it ends where it does."""
        return "stop" if self.ended else "length"


@dataclass(frozen=True, slots=True)
class Completion:
    """All answers, best first.

    Attributes:
        model: name@version that gave them.
        prompt_tokens: of the text that it read; a picture has none.
    """

    model: str
    choices: Sequence[Choice]
    prompt_tokens: int

    @property
    def usage(self) -> dict[str, int]:
        """Tokens of texts."""
        written = sum(choice.tokens for choice in self.choices)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": written,
            "total_tokens": self.prompt_tokens + written,
        }


@dataclass(frozen=True, slots=True)
class ChatDocuments:
    """Writes the documents of one answer, all of one id.

    Attributes:
        model: name@version that gives it.
        unread: indices of the messages that have no part in it.
        include_usage: whether chunks speak of the usage.
    """

    model: str
    unread: tuple[int, ...] = ()
    include_usage: bool = False
    _id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    _created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, completion: Completion) -> dict[str, Any]:
        """The answer in one document."""
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": choice.text, "refusal": None},
                "logprobs": None,
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(completion.choices)
        ]
        return {**self._head("chat.completion"), "choices": choices, "usage": completion.usage, **self._unread()}

    def first(self, index: int) -> dict[str, Any]:
        """The chunk that begins an answer."""
        return self._chunk(index, {"role": "assistant", "content": "", "refusal": None}) | self._unread()

    def words(self, index: int, text: str) -> dict[str, Any]:
        """The chunk with words to append to those before."""
        return self._chunk(index, {"content": text})

    def ends(self, completion: Completion) -> Iterator[dict[str, Any]]:
        """The chunks that end the answers, and the usage where it is wanted."""
        for index, choice in enumerate(completion.choices):
            yield self._chunk(index, {}, choice.finish_reason)
        if self.include_usage:
            yield {**self._head("chat.completion.chunk"), "choices": [], "usage": completion.usage}

    def _chunk(self, index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        usage = {"usage": None} if self.include_usage else {}
        return {**self._head("chat.completion.chunk"), "choices": [choice], **usage}

    def _head(self, name: str) -> dict[str, Any]:
        return {"id": self._id, "object": name, "created": self._created, "model": self.model}

    def _unread(self) -> dict[str, Any]:
        return {"unread_messages": list(self.unread)} if self.unread else {}
