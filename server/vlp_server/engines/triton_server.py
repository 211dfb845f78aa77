"""One Triton server as the triton engine sees it: its client, whether it may be asked, and what its errors mean."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, np_to_triton_dtype
from vlp_spec.deployment import GraphRef
from vlp_spec.errors import DeadlineError, InferenceError, OverloadedError, UnavailableError, VlpError
from vlp_spec.tasks import Lane

from vlp_server.engines.base import CallTerms, Feeds, Outputs
from vlp_server.engines.task_wire import fault_from
from vlp_server.engines.triton_shapes import with_sizes, without_sizes
from vlp_server.engines.triton_words import is_not_there, is_queue_full, is_queue_timeout

logger = logging.getLogger(__name__)
PROBE_TIMEOUT_S = 2.0
AWAY_RETRY_S = 2.0
_FULL_RETRY_S = 1.0
# A server whose door answers and whose model hangs: so many calls in a row that had time enough and got nothing.
_LATE_LIMIT = 3
_TIME_ENOUGH_S = 5.0
_US = 1_000_000
_PRIORITIES = {Lane.INTERACTIVE: 1, Lane.BULK: 2}
_LARGEST_BYTES = 2**31 - 1
# Pings find a connection that died without a word. A server that comes back is found in a second: gRPC's own pause
# between attempts to connect grows to two minutes.
_CHANNEL = (
    ("grpc.max_send_message_length", _LARGEST_BYTES),
    ("grpc.max_receive_message_length", _LARGEST_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


class AwayError(Exception):
    """A server that cannot be reached, or has not got the model: another one may be asked."""


class TritonServer:
    """One address. All methods belong to the event loop.

    Attributes:
        url: host:port.
        up: whether it has proved itself and has answered since.
        reason: why it is not up, safe to show.
        in_flight: calls under way.
        last: when it was asked last, on the loop's clock.
        disproved: whether it was asked and gave wrong answers, or could not load a model.
    """

    def __init__(self, url: str, ca_file: Path | None = None) -> None:
        self.url = url
        self.up = False
        self.reason = f"waiting for Triton at {url}"
        self.in_flight = 0
        self.last = 0.0
        self.disproved = False
        self._late = 0
        self.client = triton_aio.InferenceServerClient(
            url,
            ssl=ca_file is not None,
            root_certificates=None if ca_file is None else str(ca_file),
            channel_args=_CHANNEL,
        )

    def down(self, reason: str) -> None:
        """Ask it nothing until it has proved itself again."""
        if self.up:
            logger.warning("Triton at %s is not asked any more: %s", self.url, reason)
        self.up, self.reason, self.disproved = False, reason, False

    async def is_alive(self) -> bool:
        """Whether it answers at all."""
        try:
            return bool(await self.client.is_server_live(client_timeout=PROBE_TIMEOUT_S))
        except InferenceServerException as error:
            logger.debug("Triton at %s: %s", self.url, error)
            return False

    async def has(self, name: str, version: int) -> bool:
        """Whether it can run a version of a model."""
        try:
            return bool(await self.client.is_model_ready(name, str(version), client_timeout=PROBE_TIMEOUT_S))
        except InferenceServerException:
            return False

    async def infer(self, graph: GraphRef, feeds: Feeds, terms: CallTerms) -> Outputs:
        """Run a graph.

        Raises:
            AwayError: ask another server.
            VlpError: as RemoteEngine.infer.
        """
        try:
            with self.calling():
                result = await self.client.infer(
                    graph.name,
                    [_input(name, with_sizes(array)) for name, array in feeds.items()],
                    model_version=str(graph.version),
                    outputs=[triton.InferRequestedOutput(spec.name) for spec in graph.outputs],
                    priority=_PRIORITIES[terms.lane],
                    timeout=max(1, int(terms.timeout_s * _US)),
                    client_timeout=terms.timeout_s,
                )
        except DeadlineError:
            if terms.timeout_s >= _TIME_ENOUGH_S:
                self._note_late()
            raise
        self._late = 0
        return {spec.name: without_sizes(result.as_numpy(spec.name), spec) for spec in graph.outputs}

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Count a call as under way, and say what its errors mean.

        Raises:
            AwayError, VlpError: as `meaning_of`.
        """
        self.in_flight += 1
        try:
            yield
        except InferenceServerException as error:
            raise meaning_of(error, self.url) from error
        except grpc.RpcError as error:  # tritonclient hands on what ends a stream as it is
            told = InferenceServerException(msg=error.details(), status=str(error.code()))
            raise meaning_of(told, self.url) from error
        finally:
            self.in_flight -= 1

    def _note_late(self) -> None:
        """Count a call that nothing came of in time."""
        self._late += 1
        if self._late >= _LATE_LIMIT:
            self._late = 0
            self.down(f"Triton at {self.url} has not answered {_LATE_LIMIT} calls in time")


def _input(name: str, array: NDArray[Any]) -> Any:
    tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor


def meaning_of(error: Any, url: str) -> VlpError | AwayError:
    """What an error of Triton's, or of the way to it, means for the one who asked."""
    status, message = str(error.status() or "").removeprefix("StatusCode."), str(error.message())
    detail = f"Triton at {url}: {status} {message}"
    if known := fault_from(message):
        return known
    if status == "DEADLINE_EXCEEDED" or is_queue_timeout(message):
        return DeadlineError("the deadline passed before the model had answered", detail=detail)
    if is_queue_full(message):
        return OverloadedError(
            "the queue of this model is full; try again later", retry_after_s=_FULL_RETRY_S, detail=detail
        )
    if status in ("UNAVAILABLE", "NOT_FOUND", "CANCELLED") or is_not_there(message):
        return AwayError(detail)
    return InferenceError("the model failed on this item; the same input will fail again", detail=detail)


def nobody(reasons: list[str]) -> UnavailableError:
    """No server can be asked."""
    detail = "; ".join(reasons)
    return UnavailableError("no Triton server can be asked now; try again", retry_after_s=AWAY_RETRY_S, detail=detail)
