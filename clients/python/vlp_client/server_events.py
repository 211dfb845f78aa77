"""Server-sent events, as the HTML standard has them (section 9.2), and those of this API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vlp_client.errors import ProtocolError
from vlp_client.http_wire import problem_error

EVENT_MEDIA_TYPE = "text/event-stream"
DONE_EVENT, ERROR_EVENT = "done", "error"
_UNNAMED = "message"
Event = tuple[str, Mapping[str, Any]]
"""Its name and its document."""


class EventReader:
    """Lines, without their ends -> name and data of each event. One without a name is a "message"."""

    def __init__(self) -> None:
        self._name, self._data = _UNNAMED, list[str]()

    def feed(self, line: str) -> tuple[str, str] | None:
        """The event that ends with this line. Comments, and events without data, are left out."""
        if line:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                self._name = value
            elif field == "data":
                self._data.append(value)
            return None
        name, data = self._name, self._data
        self._name, self._data = _UNNAMED, []
        return (name, "\n".join(data)) if data else None


def read_document(url: object, name: str, data: str, headers: Mapping[str, str]) -> Mapping[str, Any]:
    """The document of an event.

    Raises:
        ServerError: the event says that the server failed.
        ProtocolError: it is no event of this API.
    """
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ProtocolError(f"{url}: an event that is not this API's")
    if name == ERROR_EVENT:
        # The status of the answer went first: the fault's own is in its document.
        status = document.get("status")
        raise problem_error(document, status if isinstance(status, int) else 500, headers)
    return document
