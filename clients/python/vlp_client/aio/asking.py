"""What the calls of all tasks share: one way to ask about pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from vlp_client.aio.sending import AsyncSender
from vlp_client.asking import with_model
from vlp_client.calls import Call
from vlp_client.replies import Reply
from vlp_client.subject import Subject

T = TypeVar("T")


class AsyncAsking:
    """The part of a client that sends a call about pictures."""

    _sender: AsyncSender

    async def _ask(
        self,
        verb: str,
        read: Callable[[Reply], T],
        subject: Subject,
        fields: dict[str, Any],
        *,
        model: str | None,
        deadline_s: float | None,
    ) -> T:
        call = Call(verb=verb, read=read, subject=subject, fields=with_model(fields, model), deadline_s=deadline_s)
        return await self._sender.call(call)
