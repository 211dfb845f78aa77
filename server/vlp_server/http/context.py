"""What the door remembers of one request while it answers: its id, when it began, where its time went."""

from __future__ import annotations

import dataclasses
import logging
import re
import time
import uuid
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope
from vlp_spec.errors import ErrorKind, InvalidArgumentError, VlpError

from vlp_server.core.records import Timings
from vlp_server.http.problems import Problem

logger = logging.getLogger(__name__)

REQUEST_ID_HEADER = "X-Request-Id"
TIMEOUT_HEADER = "X-Request-Timeout-Ms"
OPENAI_PATHS = frozenset({"/v1/embeddings"})
OIP_ROOT = "/v2"
_SCOPE_KEY = "vlpserve.request"
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_WHOLE = re.compile(r"[0-9]{1,12}")


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
    route: str | None = None
    openai_errors: bool = False
    oip_errors: bool = False

    @classmethod
    def begin(cls, scope: Scope) -> RequestContext:
        """Make the context of a request and keep it in its scope."""
        given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        context = cls(given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex)
        context.openai_errors = scope["path"] in OPENAI_PATHS
        context.oip_errors = is_oip(scope["path"])
        scope[_SCOPE_KEY] = context
        return context

    def respond(self, problem: Problem) -> Response:
        """The answer that a problem is, in the form that this path speaks."""
        if self.oip_errors:
            return problem.oip_response()
        return problem.openai_response() if self.openai_errors else problem.response(self.request_id)

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
        entries = [f"{name};dur={duration_ms}" for name, duration_ms in self._stages().items()]
        if self.timings is not None:
            entries.append(f'batch;desc="{self.timings.batch_items}"')
        return ", ".join([*entries, f"total;dur={self._total_ms()}"])

    def _total_ms(self) -> float:
        return round((time.monotonic() - self.started) * 1000, 1)

    def _stages(self) -> dict[str, float]:
        if self.timings is None:
            return {}
        stages = {
            "queue": self.timings.queue_ms,
            "preprocess": self.timings.preprocess_ms,
            "infer": self.timings.infer_ms,
            "postprocess": self.timings.postprocess_ms,
            "cache": self.timings.cache_ms,
        }
        if self.timings.regions_ms:
            stages |= {"regions": self.timings.regions_ms}
        if self.timings.store_ms:
            stages |= {"store": self.timings.store_ms, "rerank": self.timings.rerank_ms}
        return {name: round(duration_ms, 1) for name, duration_ms in stages.items()}


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
