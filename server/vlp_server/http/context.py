"""What the door remembers of one request while it answers: its id, when it began, where its time went."""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope
from vlp_spec.errors import ErrorKind, InvalidArgumentError, VlpError

from vlp_server.access.keys import AccessKey
from vlp_server.access.limits import RateState
from vlp_server.core.records import Timings
from vlp_server.http.problems import Problem
from vlp_server.intake.request_ids import request_id_of
from vlp_server.intake.stage_times import server_timing, stages_of

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-Id"
TIMEOUT_HEADER = "X-Request-Timeout-Ms"
OPENAI_PATHS = frozenset({"/v1/chat/completions", "/v1/embeddings", "/v1/models"})
_OPENAI_PREFIX = "/v1/models/"
OIP_ROOT = "/v2"
_SCOPE_KEY = "vlpserve.request"
_WHOLE = re.compile(r"[0-9]{1,12}")


def speaks_openai(path: str) -> bool:
    """Whether a path, of a request or of a route, answers with errors in OpenAI's form."""
    return path in OPENAI_PATHS or path.startswith(_OPENAI_PREFIX)


@dataclass(slots=True)
class RequestContext:
    """Mutable for the life of one request; the route fills in what the envelope writes at the end.

    Attributes:
        request_id: the caller's X-Request-Id where it is sane, else a new one.
        started: time.monotonic() seconds at which the headers had arrived.
        timings: from the core, None until it answered.
        model: that answered, for the access log.
        kind: of the fault, for the access log and the metrics.
        key: name of the caller's API key, for the access log.
        access_key: the key itself; None: nobody asked for one.
        words: what the caller asked in its own words, for an access log that may have them.
        rate_state: tells how the caller's bucket stands; None until its limits were asked.
        refused: what the connection itself answered in the place of the application, whose own answer nobody got.
        task: that was done, where its route does not say so.
        route: path of the route that a request was refused at before it was routed, for the metrics.
        openai_errors: whether this path answers with errors in OpenAI's form.
        oip_errors: whether it does in that of the Open Inference Protocol.
    """

    request_id: str
    started: float = field(default_factory=time.monotonic)
    timings: Timings | None = None
    model: str | None = None
    kind: str | None = None
    key: str | None = None
    access_key: AccessKey | None = None
    words: tuple[str, ...] = ()
    rate_state: Callable[[], RateState | None] | None = None
    refused: Problem | None = None
    task: str | None = None
    route: str | None = None
    openai_errors: bool = False
    oip_errors: bool = False

    @classmethod
    def begin(cls, scope: Scope) -> RequestContext:
        """Make the context of a request and keep it in its scope."""
        context = cls(request_id_of(Headers(scope=scope).get(REQUEST_ID_HEADER, "")))
        context.openai_errors = speaks_openai(scope["path"])
        context.oip_errors = is_oip(scope["path"])
        scope[_SCOPE_KEY] = context
        return context

    def respond(self, problem: Problem) -> Response:
        """The answer that a problem is, in the form that this path speaks."""
        if self.oip_errors:
            return problem.oip_response()
        return problem.openai_response(self.request_id) if self.openai_errors else problem.response(self.request_id)

    def document(self, problem: Problem) -> dict[str, Any]:
        """The document of a problem, in the form that this path speaks."""
        return problem.openai_document(self.request_id) if self.openai_errors else problem.document(self.request_id)

    def refuse(self, problem: Problem, error: Exception, headers: Headers) -> Response:
        """The answer that a fault is, noted for the log.

        Args:
            headers: of the request.
        """
        if "expect" in headers and "Connection" not in problem.headers:
            # The client may be waiting for leave to send its body and gets none; what follows on this connection could
            # be the body or another request.
            problem = dataclasses.replace(problem, headers={**problem.headers, "Connection": "close"})
        self.note_fault(problem, error)
        return self.respond(problem)

    def note_fault(self, problem: Problem, error: Exception) -> None:
        """Keep the kind of a fault, and log what its caller is not told."""
        self.kind = problem.kind
        detail = error.detail if isinstance(error, VlpError) else None
        if problem.kind == ErrorKind.INTERNAL:
            logger.error("request %s: %s", self.request_id, detail or error, exc_info=error)
        elif detail:
            logger.info("request %s: %s (%s)", self.request_id, problem.kind, detail)

    def timings_ms(self) -> dict[str, float]:
        """What the Server-Timing header says, for an answer that ends long after its headers."""
        return {**self._stages(), "total": self._total_ms()}

    def server_timing(self) -> str:
        """The Server-Timing header: stages of the core where there are any, and the total, in milliseconds."""
        return server_timing(self.timings, self._total_ms())

    def _total_ms(self) -> float:
        return round((time.monotonic() - self.started) * 1000, 1)

    def _stages(self) -> dict[str, float]:
        return {} if self.timings is None else stages_of(self.timings)


def is_oip(path: str) -> bool:
    """Whether a path is one of the Open Inference Protocol's."""
    return path == OIP_ROOT or path.startswith(f"{OIP_ROOT}/")


def context_of(scope: Scope) -> RequestContext:
    """The context of a request; outside the envelope (a route tried alone) a new one."""
    context = scope.get(_SCOPE_KEY)
    return context if isinstance(context, RequestContext) else RequestContext.begin(scope)


def deadline_of(headers: Headers, started: float, max_timeout_s: float) -> float | None:
    """The caller's deadline as time.monotonic() seconds, None where it names none.

    Raises:
        InvalidArgumentError: not a whole number of milliseconds from 1 to the limit.
    """
    text = headers.get(TIMEOUT_HEADER)
    if text is None:
        return None
    limit_ms = int(max_timeout_s * 1000)
    if not _WHOLE.fullmatch(text) or not 1 <= int(text) <= limit_ms:
        raise InvalidArgumentError(
            f"{TIMEOUT_HEADER}: got {text!r:.40}, expected whole milliseconds from 1 to {limit_ms}",
            field=TIMEOUT_HEADER,
        )
    return started + int(text) / 1000
