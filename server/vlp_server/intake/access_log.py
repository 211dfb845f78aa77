"""What the access log says of a request. Never a key, a picture, an answer or a path as it was sent.

A path may hold what a caller would not have in a log, such as an item's id; its route with the names of the parameters
says as much to an operator. The caller's own words are there only where the operator asked for them.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from dataclasses import dataclass
from typing import Any, Protocol

from vlp_spec.tasks import Task

from vlp_server.config.settings import ClientAddress, LogConfig
from vlp_server.core.records import Timings

ACCESS_LOGGER = "vlpserve.access"
_TASK_ROUTES = {f"/v1/{task}": str(task) for task in Task}
MAX_WORDS = 20
_HASH_CHARS = 16

access_logger = logging.getLogger(ACCESS_LOGGER)


class Asked(Protocol):
    """What a door remembers of a request."""

    @property
    def request_id(self) -> str:
        """The caller's, or a new one."""
        ...

    @property
    def key(self) -> str | None:
        """Name of the caller's API key."""
        ...

    @property
    def kind(self) -> str | None:
        """Of the fault."""
        ...

    @property
    def model(self) -> str | None:
        """That answered."""
        ...

    @property
    def task(self) -> str | None:
        """That was done, where the route does not say so."""
        ...

    @property
    def words(self) -> tuple[str, ...]:
        """What the caller asked in its own words."""
        ...

    @property
    def timings(self) -> Timings | None:
        """Of the core, None until it answered."""
        ...


@dataclass(slots=True)
class Exchange:
    """What went over the connection for one request; filled in as it goes.

    Attributes:
        method: of HTTP, as it was sent; or "gRPC".
        client: address.
        status: of the answer, a number of HTTP or a name of gRPC.
        route: path of the route, with the names of its parameters; "other" where there is none.
        bytes_in: of the body, as far as it was read.
        bytes_out: of the answer's body.
    """

    method: str
    client: str
    status: int | str
    route: str = "other"
    bytes_in: int = 0
    bytes_out: int = 0


class AccessLog:
    """Writes the lines.

    Args:
        config: what they may say.
    """

    def __init__(self, config: LogConfig) -> None:
        self._config = config
        # Of this process alone, so that nobody can find an address by hashing all of them.
        self._salt = secrets.token_bytes(32)

    def write(self, context: Asked, exchange: Exchange, seconds: float) -> None:
        """One line for a request that has ended; `seconds` from its headers to the end of its answer."""
        timings = context.timings
        line: dict[str, Any] = {
            "request_id": context.request_id,
            "key": context.key,
            "method": exchange.method,
            "route": exchange.route,
            "status": exchange.status,
            "kind": context.kind,
            "model": context.model,
            "task": context.task or _TASK_ROUTES.get(exchange.route),
            "bytes_in": exchange.bytes_in,
            "bytes_out": exchange.bytes_out,
            "duration_ms": round(seconds * 1000, 1),
            "queue_ms": None if timings is None else round(timings.queue_ms, 1),
            "infer_ms": None if timings is None else round(timings.infer_ms, 1),
        }
        if (client := self._client(exchange.client)) is not None:
            line["client"] = client
        if self._config.questions and context.words:
            limit = self._config.question_chars
            line["questions"] = [word[:limit] for word in context.words[:MAX_WORDS]]
        access_logger.info("request", extra={"fields": line})

    def _client(self, address: str) -> str | None:
        match self._config.client:
            case ClientAddress.PLAIN:
                return address
            case ClientAddress.HASHED:
                return hmac.new(self._salt, address.encode(), hashlib.sha256).hexdigest()[:_HASH_CHARS]
            case ClientAddress.OMITTED:
                return None
