"""The documents of a chat, as the OpenAPI description shows them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class ChatMessage(BaseModel):
    """An answer: the best one to the question, or what the picture shows."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None


class ChatChoice(BaseModel):
    """One of the answers. `finish_reason` is `length` where it was cut at the limit of tokens."""

    index: int
    message: ChatMessage
    logprobs: None
    finish_reason: Literal["stop", "length"]


class ChatUsage(BaseModel):
    """Tokens of texts, as the model's tokenizer counts them; a picture has none."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(BaseModel):
    """Answers, best first, and the model that gave them (name@version).

    `unread_messages` are the indices of the messages that have no part in the answers, where there are any.
    """

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage
    unread_messages: list[int] | None = None
