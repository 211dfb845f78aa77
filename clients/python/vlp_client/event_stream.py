"""An answer that arrives while it is made: server-sent events, as the HTML standard has them (section 9.2)."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any

import httpx

from vlp_client.connection import problem_error
from vlp_client.errors import ConnectError, ProtocolError, TimeoutError

EVENT_MEDIA_TYPE = "text/event-stream"
DONE_EVENT, ERROR_EVENT = "done", "error"
_UNNAMED = "message"
Event = tuple[str, Mapping[str, Any]]
"""Its name and its document."""


def events_of(response: httpx.Response) -> Generator[Event, None, None]:
    """The events of an answer that has not been read yet, the one named "done" among them; closes the answer.

    Raises:
        VlpClientError: the server failed on the way, the connection broke, or this is no stream of this API.
    """
    url, done = response.url, False
    try:
        for name, data in read_events(response.iter_lines()):
            document = _document(url, data)
            if name == ERROR_EVENT:
                # The status of the answer went first: the fault's own is in its document.
                status = document.get("status")
                raise problem_error(document, status if isinstance(status, int) else 500, response.headers)
            yield name, document
            done = done or name == DONE_EVENT
    except httpx.TimeoutException as error:
        raise TimeoutError(f"{url}: no further words in time") from error
    except httpx.TransportError as error:
        raise ConnectError(f"{url}: the connection broke before the end ({error})") from error
    finally:
        response.close()
    if not done:
        raise ProtocolError(f"{url}: the stream ended before its answer")


def read_events(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Name and data of each event; one without a name is a "message". Comments are left out.

    Args:
        lines: without their ends.
    """
    name, data = _UNNAMED, list[str]()
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif not line:
            if data:
                yield name, "\n".join(data)
            name, data = _UNNAMED, []


def _document(url: httpx.URL, data: str) -> Mapping[str, Any]:
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ProtocolError(f"{url}: an event that is not this API's")
    return document
