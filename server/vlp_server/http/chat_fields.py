"""The body of POST /v1/chat/completions: OpenAI's, of which what these models cannot do is refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field, WithJsonSchema, model_validator
from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import MAX_CAPTIONS

from vlp_server.http.fields import StrictFields

MAX_STOPS = 4
_PART = {
    "anyOf": [
        {
            "type": "object",
            "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
            "required": ["type", "text"],
        },
        {
            "type": "object",
            "properties": {
                "type": {"const": "image_url"},
                "image_url": {
                    "type": "object",
                    "properties": {
                        "url": {
                            "type": "string",
                            "description": "A data URI; or, where the operator allows it, an http(s) URL.",
                        },
                        "detail": {"enum": ["auto", "low", "high", "original"], "description": "Taken and not used."},
                    },
                    "required": ["url"],
                },
            },
            "required": ["type", "image_url"],
        },
    ]
}
_MESSAGES = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "properties": {
            "role": {"enum": ["user", "assistant", "system", "developer", "tool", "function"]},
            "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": _PART}, {"type": "null"}]},
        },
        "required": ["role"],
    },
}
_STOP = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": MAX_STOPS},
        {"type": "null"},
    ]
}
_UNUSED = Field(description="Taken and not used.")
_NOTHING: Mapping[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "moderation": (),
    "prediction": (),
    "presence_penalty": (0,),
    "reasoning_effort": ("none",),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": (),
    "web_search_options": (),
}
"""Fields that would change the answer, and the values of them that ask for nothing; null is one for all."""


def _describe_nothing(schema: dict[str, Any]) -> None:
    for name, values in _NOTHING.items():
        schema["properties"][name] = {"enum": [*values, None], "description": "Of OpenAI's; asks for nothing here."}


class StreamOptions(StrictFields):
    """What a stream holds beside the words."""

    include_usage: Annotated[bool | None, Field(description="A last chunk with the `usage` of the whole.")] = None
    include_obfuscation: Annotated[bool | None, _UNUSED] = None


class ChatJson(StrictFields):
    """The JSON body of POST /v1/chat/completions."""

    model_config = ConfigDict(json_schema_extra=_describe_nothing)

    messages: Annotated[
        Any,
        WithJsonSchema(_MESSAGES),
        Field(
            description="The last one is the user's: its text is the question, its `image_url` the picture; where it "
            "has none, that of the user's message before. Without a text the picture is described. Nothing else is "
            "read: the answer's `unread_messages` names by index what was not."
        ),
    ]
    model: Annotated[
        str | None,
        Field(
            description="name, name@version or name@alias; `auto`, or left out, for the default model of what is asked."
        ),
    ] = None
    max_completion_tokens: Annotated[
        int | None,
        Field(
            description="Longest answer; never longer than the model's own longest.", json_schema_extra={"minimum": 1}
        ),
    ] = None
    max_tokens: Annotated[
        int | None, Field(description="The older name of the same.", json_schema_extra={"minimum": 1})
    ] = None
    n: Annotated[
        int | None,
        Field(
            description=f"How many answers, best first, 1 to {MAX_CAPTIONS}; 1 where left out.",
            json_schema_extra={"minimum": 1, "maximum": MAX_CAPTIONS},
        ),
    ] = None
    temperature: Annotated[
        float | None,
        Field(
            description="0 to 2; above 0 the words of a caption are drawn by chance; 0 where left out, but 1 where "
            "`top_p` is below 1. The answer to a question is always the best.",
            json_schema_extra={"minimum": 0, "maximum": 2},
        ),
    ] = None
    top_p: Annotated[
        float | None,
        Field(
            description="Draw among the likeliest tokens that have so much of the probability, above 0 to 1.",
            json_schema_extra={"exclusiveMinimum": 0, "maximum": 1},
        ),
    ] = None
    seed: Annotated[
        int | None,
        Field(description="Of the drawing: the same seed draws the same text.", json_schema_extra={"minimum": 0}),
    ] = None
    stop: Annotated[
        Any,
        WithJsonSchema(_STOP),
        Field(description=f"The text ends before the first of these; up to {MAX_STOPS}."),
    ] = None
    stream: Annotated[bool | None, Field(description="Send server-sent events: words as they are written.")] = None
    stream_options: Annotated[StreamOptions | None, Field(description="Only with `stream`.")] = None
    metadata: Annotated[dict[str, Any] | None, _UNUSED] = None
    parallel_tool_calls: Annotated[bool | None, _UNUSED] = None
    prompt_cache_key: Annotated[str | None, _UNUSED] = None
    prompt_cache_options: Annotated[dict[str, Any] | None, _UNUSED] = None
    prompt_cache_retention: Annotated[str | None, _UNUSED] = None
    safety_identifier: Annotated[str | None, _UNUSED] = None
    user: Annotated[str | None, _UNUSED] = None

    @model_validator(mode="before")
    @classmethod
    def _take_nothing(cls, values: Any) -> Any:
        """Leave out the fields that ask for nothing.

        Raises:
            InvalidArgumentError: one that asks for something.
        """
        for name, nothing in _NOTHING.items():
            value = values.get(name)
            if value is None or any(type(value) in _types_of(none) and value == none for none in nothing):
                continue
            told = "".join(f", or {json.dumps(none)}" for none in nothing)
            raise InvalidArgumentError(f"{name}: these models have nothing like it; leave it out{told}", field=name)
        return {name: value for name, value in values.items() if name not in _NOTHING}


def _types_of(value: Any) -> tuple[type, ...]:
    """JSON has one kind of number, and Python takes False for 0."""
    return (int, float) if type(value) is int else (type(value),)
