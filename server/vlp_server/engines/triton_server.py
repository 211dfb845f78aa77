"""One Triton server as the triton engine sees it: its client, whether it may be asked, and what its errors mean."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, np_to_triton_dtype
from vlp_spec.deployment import GraphRef
from vlp_spec.errors import DeadlineError, UnavailableError, VlpError
from vlp_spec.tasks import Lane

from vlp_server.engines.base import CallTerms, Feeds, Outputs
from vlp_server.engines.silence import Silence
from vlp_server.engines.triton_shapes import with_sizes, without_sizes
from vlp_server.engines.triton_words import (
    AWAY_RETRY_S,
    failed_on_item,
    is_dead,
    is_not_there,
    is_queue_full,
    is_queue_timeout,
    said_by_model,
)

logger = logging.getLogger(__name__)
PROBE_TIMEOUT_S = 2.0
# A busy machine is late now and then; one that refuses to connect has gone.
_LATE_LOOKS = 3
# After a server that came back has failed again at once it is left alone, each time for twice as long.
_STEADY_S = 30.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_US = 1_000_000
_PRIORITIES = {Lane.INTERACTIVE: 1, Lane.BULK: 2}
_LARGEST_BYTES = 2**31 - 1
# A connection that died without a word is found by the probes, and by pings while calls are under way. More pings than
# these, or some without calls, and Triton as it comes ends the connection for being pinged too often. A server that
# comes back is found in a second: gRPC's own pause between attempts to connect grows to two minutes.
_CHANNEL = (
    ("grpc.max_send_message_length", _LARGEST_BYTES),
    ("grpc.max_receive_message_length", _LARGEST_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


class AwayError(Exception):
    """A server that cannot be reached, or has not got the model: another one may be asked."""


class LostCopyError(UnavailableError):
    """The process of one copy of a model has died there; another copy may answer."""


class LateError(AwayError):
    """A server that does not say in time how it is."""


@dataclass(slots=True)
class _Rest:
    """A time in which something is left alone, twice as long each time in a row."""

    until: float = 0.0
    pause_s: float = 0.0

    def lengthen(self, now: float) -> None:
        self.pause_s = min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, 2 * self.pause_s))
        self.until = now + self.pause_s


class TritonServer:
    """One address. All methods belong to the event loop.

    Attributes:
        url: host:port.
        up: whether it has proved itself and has answered since.
        reason: why it is not up, safe to show to whoever asks; it names no address.
        last: when it was asked last, on the clock.
        disproved: whether it was asked and gave wrong answers, or has no such version of a model.
        graphs: name -> how long its calls have been under way without an answer.
        tasks: the same of whole tasks.
    """

    def __init__(self, url: str, ca_file: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self.up = False
        self.reason = "waiting for Triton"
        self.last = 0.0
        self.disproved = False
        self.graphs: defaultdict[str, Silence] = defaultdict(lambda: Silence(clock))
        self.tasks: defaultdict[str, Silence] = defaultdict(lambda: Silence(clock))
        self._troubles: defaultdict[str, _Rest] = defaultdict(_Rest)
        self._clock = clock
        self._up_since = -_STEADY_S
        self._rest = _Rest()
        self._late_looks = 0
        self.client = triton_aio.InferenceServerClient(
            url,
            ssl=ca_file is not None,
            root_certificates=None if ca_file is None else str(ca_file),
            channel_args=_CHANNEL,
        )

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return sum(one.in_flight for one in (*self.graphs.values(), *self.tasks.values()))

    def is_troubled(self, model: str) -> bool:
        """Whether a model has failed here a moment ago: one that fails at once would else always be the least busy."""
        return model in self._troubles and self._clock() < self._troubles[model].until

    def trouble(self, model: str) -> None:
        """Note that a model failed here; each time in a row it counts for twice as long."""
        if not self.is_troubled(model):
            self._troubles[model].lengthen(self._clock())

    def sound(self, model: str) -> None:
        """Note that a model answered."""
        self._troubles.pop(model, None)

    @staticmethod
    def longest(silences: Mapping[str, Silence]) -> float:
        """The longest silence of several models, seconds."""
        return max((one.seconds for one in silences.values()), default=0.0)

    @property
    def is_resting(self) -> bool:
        """Whether it is too early to try it again."""
        return self._clock() < self._rest.until

    def proved(self) -> bool:
        """Ask it from now on. Returns whether that is new."""
        is_new = not self.up
        if is_new:
            self._up_since = self._clock()
        self.up, self.reason, self.disproved = True, "", False
        return is_new

    def down(self, reason: str, detail: str = "", *, disproved: bool = False) -> None:
        """Ask it nothing until it has proved itself again.

        Args:
            reason: safe to show.
            detail: for the log.
        """
        if self.up:
            if self._clock() - self._up_since >= _STEADY_S:
                self._rest = _Rest()
            else:
                self._rest.lengthen(self._clock())
        if self.up or reason != self.reason:  # and not at each look
            logger.warning("Triton at %s is not asked: %s", self.url, detail or reason)
        self.up, self.reason, self.disproved = False, reason, disproved

    def late_again(self) -> bool:
        """Note that a look was late. Whether it has been so too often, one after the other."""
        self._late_looks += 1
        return self._late_looks >= _LATE_LOOKS

    def in_time(self) -> None:
        """Note that a look was answered."""
        self._late_looks = 0

    async def is_live(self) -> bool:
        """Whether it says that it runs.

        Raises:
            AwayError, LateError: it does not say.
        """
        with self._looking():
            return bool(await self.client.is_server_live(client_timeout=PROBE_TIMEOUT_S))
        return False

    async def has(self, name: str, version: int) -> bool:
        """Whether it can run a version of a model; errors as `is_live`."""
        with self._looking():
            return bool(await self.client.is_model_ready(name, str(version), client_timeout=PROBE_TIMEOUT_S))
        return False

    @contextmanager
    def _looking(self) -> Iterator[None]:
        try:
            yield
        except InferenceServerException as error:
            detail = f"Triton at {self.url}: {_status(error)} {error.message()}"
            if _status(error) == "DEADLINE_EXCEEDED":
                raise LateError(detail) from error
            if _status(error) in ("UNAVAILABLE", "CANCELLED"):
                raise AwayError(detail) from error

    async def infer(self, graph: GraphRef, feeds: Feeds, terms: CallTerms) -> Outputs:
        """Run a graph.

        Raises:
            AwayError: ask another server.
            VlpError: as RemoteEngine.infer.
        """
        with self.calling(self.graphs[graph.name]):
            result = await self.client.infer(
                graph.name,
                [_input(name, with_sizes(array)) for name, array in feeds.items()],
                model_version=str(graph.version),
                outputs=[triton.InferRequestedOutput(spec.name) for spec in graph.outputs],
                priority=_PRIORITIES[terms.lane],
                timeout=max(1, int(terms.timeout_s * _US)),
                client_timeout=terms.timeout_s,
            )
        return {spec.name: without_sizes(result.as_numpy(spec.name), spec) for spec in graph.outputs}

    @contextmanager
    def calling(self, silence: Silence) -> Iterator[None]:
        """Count a call as under way, and say what its errors mean.

        Raises:
            AwayError, VlpError: as `meaning_of`.
        """
        silence.begin()
        try:
            yield
            silence.heard()
        except InferenceServerException as error:
            if not _is_no_answer(error):
                silence.heard()
            raise meaning_of(error, self.url) from error
        except grpc.RpcError as error:  # tritonclient hands on what ends a stream as it is
            told = InferenceServerException(msg=error.details(), status=str(error.code()))
            raise meaning_of(told, self.url) from error
        finally:
            silence.end()


def _input(name: str, array: NDArray[Any]) -> Any:
    tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor


def meaning_of(error: Any, url: str) -> VlpError | AwayError:
    """What an error of Triton's, or of the way to it, means for the one who asked."""
    status, message = _status(error), str(error.message())
    detail = f"Triton at {url}: {status} {message}"
    if known := said_by_model(message, detail):
        return known
    if status == "DEADLINE_EXCEEDED" or is_queue_timeout(message):
        return DeadlineError("the deadline passed before the model had answered", detail=detail)
    if is_dead(message):
        return LostCopyError("a copy of this model has died; try again", retry_after_s=AWAY_RETRY_S, detail=detail)
    if status in ("UNAVAILABLE", "NOT_FOUND", "CANCELLED") or is_not_there(message):
        return AwayError(detail)
    return failed_on_item(detail)


def _is_no_answer(error: Any) -> bool:
    """Whether it says nothing of the model: it is this end's own, or of a queue that nobody may be emptying."""
    message = str(error.message())
    own = _status(error) in ("DEADLINE_EXCEEDED", "CANCELLED")
    return own or is_queue_full(message) or is_queue_timeout(message)


def _status(error: Any) -> str:
    return str(error.status() or "").removeprefix("StatusCode.")


def nobody(reasons: list[str]) -> UnavailableError:
    """No server can be asked."""
    detail = "; ".join(reasons)
    return UnavailableError("no Triton server can be asked now; try again", retry_after_s=AWAY_RETRY_S, detail=detail)
