"""A verb of the API as data: what is asked, and how its answer is read. Knows no transport."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

from vlp_client.replies import Reply
from vlp_client.subject import Subject

T = TypeVar("T")


class Repeat(Enum):
    """What sending a call twice would do."""

    SAFE = "nothing is changed, or the same again"
    KEYED = "the same again, by the call's idempotency key"
    NEVER = "something else; it is sent again only where it surely did not arrive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One call.

    Attributes:
        verb: its name, which every transport has in its table.
        read: answer -> result; KeyError, TypeError and ValueError of it mean an answer that is not this API's.
        fields: as JSON holds them, but for pictures and vectors, which each transport writes in its own way.
        subject: the pictures or regions that it is about.
        name: of the collection or model that it is about.
        item_id: of the item in that collection.
        deadline_s: after which the server stops working on it; None for the server's default.
        patience_s: to wait for bytes of its answer; None for the client's own.
        repeat: what sending it twice would do.
        idempotency_key: makes two of them one.
        gone_kind: the refusal of a second try that says that the first one was carried out.
    """

    verb: str
    read: Callable[[Reply], T]
    fields: Mapping[str, Any] = field(default_factory=dict)
    subject: Subject | None = None
    name: str | None = None
    item_id: str | None = None
    deadline_s: float | None = None
    patience_s: float | None = None
    repeat: Repeat = Repeat.SAFE
    idempotency_key: str | None = None
    gone_kind: str | None = None
