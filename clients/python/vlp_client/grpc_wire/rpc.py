"""How a call goes over gRPC, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from vlp_client.calls import Call


class Shape(Enum):
    """How many messages go each way."""

    UNARY = "one, and one back"
    ANSWER_STREAM = "one, and several back"
    EXCHANGE = "several each way; here one, and one back"


@dataclass(frozen=True, slots=True)
class Rpc:
    """One method.

    Attributes:
        path: /package.Service/Method.
        encode: call -> message.
        response: class of the answer's message.
        decode: (message, call) -> body as the HTTP API has it; for a stream of answers (name, document) of an event.
        shape: how many messages go each way.
    """

    path: str
    encode: Callable[[Call[Any]], Any]
    response: Any
    decode: Callable[[Any, Call[Any]], Any]
    shape: Shape = Shape.UNARY
