"""What the calls of all tasks share: one way to ask about pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from vlp_client.connection import Connection, deadline_headers
from vlp_client.subject import Subject

T = TypeVar("T")
Texts = list[str] | tuple[str, ...]


class Asking:
    """The part of a client that sends a call about pictures."""

    _connection: Connection

    def _ask(
        self,
        path: str,
        read: Callable[[Any, httpx.Headers], T],
        subject: Subject,
        fields: dict[str, Any],
        *,
        model: str | None,
        deadline_s: float | None,
    ) -> T:
        if model is not None:
            fields["model"] = model
        content = subject.content(fields)
        return self._connection.call("POST", path, read, headers=deadline_headers(deadline_s), **content)


def one_or_list(one: str, several: str, texts: str | Texts) -> dict[str, Any]:
    """The field that holds one text, or the one that holds a list."""
    return {one: texts} if isinstance(texts, str) else {several: list(texts)}
