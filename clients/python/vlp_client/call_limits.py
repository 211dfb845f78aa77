"""What a server takes in one call, as it tells beside its models; a bulk run makes its calls no larger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from vlp_client.bulk_records import BulkSettings
from vlp_client.replies import Reply

# Of a body of JSON, pictures take four bytes for three; the rest is room for what is around them.
_OF_JSON, _OF_MESSAGE = 0.7, 0.9


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Of one call; None where the server does not tell.

    Attributes:
        inputs: texts and pictures that are embedded.
        items: that are added to a collection.
        content_bytes: of its pictures and texts together.
    """

    inputs: int | None = None
    items: int | None = None
    content_bytes: int | None = None

    def bounded(self, settings: BulkSettings, counted: str) -> BulkSettings:
        """Settings whose calls the server takes, as far as it tells.

        Args:
            settings: as they were wished.
            counted: as what a call's items are counted: "inputs" or "items".
        """
        most: int | None = getattr(self, counted)
        batch = settings.batch if most is None else min(settings.batch, max(1, most))
        if self.content_bytes is None:
            return replace(settings, batch=batch)
        return replace(settings, batch=batch, batch_bytes=min(settings.batch_bytes, self.content_bytes))


def read_call_limits(reply: Reply) -> CallLimits:
    """Read what a server tells of its limits beside its models; errors as `Call.read`."""
    told: Mapping[str, Any] = reply.body.get("request_limits") or {}
    body, message = _number(told, "body_bytes"), _number(told, "message_bytes")
    content = [round(_OF_JSON * body)] if body is not None else []
    content += [round(_OF_MESSAGE * message)] if message is not None else []
    return CallLimits(_number(told, "inputs"), _number(told, "items"), min(content, default=None))


def _number(told: Mapping[str, Any], name: str) -> int | None:
    return None if told.get(name) is None else int(told[name])
