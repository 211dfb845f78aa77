"""The Open Inference Protocol over a service: what HTTP and gRPC both call. It knows neither."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vlp_spec.deployment import GraphRef
from vlp_spec.errors import InvalidArgumentError, VlpError
from vlp_spec.tasks import Task

from vlp_server.access.prices import Weight
from vlp_server.config.settings import LimitsConfig
from vlp_server.core.hosted_models import HostedModel
from vlp_server.core.records import ModelState, Timings
from vlp_server.oip.graph_inference import run_graph
from vlp_server.oip.model_documents import config_document, index_document, metadata_document
from vlp_server.oip.parameters import RequestTerms, read_task_terms, read_terms
from vlp_server.oip.pricing import Charge, task_weight
from vlp_server.oip.records import InferReply, InferRequest
from vlp_server.oip.signatures import signature_of
from vlp_server.oip.statistics import Statistics
from vlp_server.oip.task_inference import read_task, task_reply, wants_pieces
from vlp_server.task_models.task_calls import do_task, stream_task
from vlp_server.task_models.task_records import TaskRequest

if TYPE_CHECKING:
    from vlp_server.core.service import Service

EXTENSIONS = (
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
)
_MS = 1000.0


class OpenInference:
    """One per server: all its doors count in the same statistics.

    Args:
        service: started and closed by whoever made it.
        limits: of one call.
        version: of the server.
        max_timeout_s: longest time that a request may name.
    """

    def __init__(self, service: Service, limits: LimitsConfig, *, version: str, max_timeout_s: float) -> None:
        self._service = service
        self._limits = limits
        self._version = version
        self.max_timeout_s = max_timeout_s
        self._statistics = Statistics()

    def server_metadata(self) -> dict[str, Any]:
        """Name, version and extensions of the server."""
        return {"name": "vlpserve", "version": self._version, "extensions": list(EXTENSIONS)}

    def live(self) -> bool:
        """Whether the process works."""
        return self._service.alive()

    def ready(self) -> bool:
        """Whether requests should come here."""
        return self._service.readiness().ready

    def model_ready(self, name: str, version: str = "") -> bool:
        """Whether a model answers; errors as HostedModels.find."""
        return self._service.hosted.find(name, version).state is ModelState.READY

    def model_metadata(self, name: str, version: str = "") -> dict[str, Any]:
        """See model_documents; errors as HostedModels.find."""
        return metadata_document(self._service.hosted.find(name, version), self._versions(name))

    def model_config(self, name: str, version: str = "") -> dict[str, Any]:
        """See model_documents; errors as HostedModels.find."""
        return config_document(self._service.hosted.find(name, version), self._versions(name))

    def statistics(self, name: str = "", version: str = "") -> list[dict[str, Any]]:
        """Of one version, of all versions of a model, or of all models; errors as HostedModels.find."""
        hosted = self._service.hosted
        if not name:
            found = hosted.all()
        else:
            found = [hosted.find(name, version)] if version else hosted.versions(name) or [hosted.find(name)]
        return [self._statistics.document(one) for one in found]

    def repository_index(self, *, only_ready: bool = False) -> list[dict[str, Any]]:
        """Every version of every model, with its state."""
        models = self._service.hosted.all()
        return [index_document(one) for one in models if not only_ready or one.state is ModelState.READY]

    async def infer(self, request: InferRequest, charge: Charge, deadline: float | None = None) -> InferReply:
        """Answer a request.

        Args:
            charge: asked once, when it is known what is asked and nothing is computed yet.
            deadline: time.monotonic() seconds; None = as the request says, or the default.

        Raises:
            VlpError: as the service's methods; a request that is not as its model's metadata says.
        """
        hosted = self._service.hosted.find(request.model, request.version)
        started = time.monotonic()
        batches: tuple[int, ...] = (1,)
        try:
            if isinstance(hosted.part, GraphRef):
                terms = read_terms(request)
                until = self._until(deadline, terms)
                reply, batches = await run_graph(
                    self._service.hosted, hosted, request, terms.lane, until, charge=charge
                )
            else:
                reply = await self._do_task(hosted, hosted.part, request, charge, deadline)
        except (VlpError, asyncio.CancelledError):
            self._statistics.failed(hosted, time.monotonic() - started)
            raise
        self._statistics.succeeded(hosted, time.monotonic() - started, reply.timings, batches)
        return reply

    async def stream(
        self, request: InferRequest, charge: Charge, deadline: float | None = None
    ) -> AsyncGenerator[InferReply]:
        """As `infer`; a caption that is wanted in pieces comes in pieces, and last the whole."""
        hosted = self._service.hosted.find(request.model, request.version)
        if not signature_of(hosted).decoupled:
            yield await self.infer(request, charge, deadline)
            return
        started, done = time.monotonic(), False
        try:
            asked = await self._asked(hosted, Task.CAPTION, request, charge, deadline)
            async with aclosing(stream_task(self._service, hosted.deployment, asked, self._limits)) as news:
                async for told in news:
                    done = bool(told.results)
                    yield task_reply(hosted, request, told, final=done)
        finally:
            seconds = time.monotonic() - started
            if done:
                self._statistics.succeeded(hosted, seconds, Timings(infer_ms=seconds * _MS), (1,))
            else:
                self._statistics.failed(hosted, seconds)

    async def _do_task(
        self, hosted: HostedModel, task: Task, request: InferRequest, charge: Charge, deadline: float | None
    ) -> InferReply:
        started = time.monotonic()
        asked = await self._asked(hosted, task, request, charge, deadline)
        if task is Task.CAPTION and wants_pieces(asked):
            raise InvalidArgumentError("stream: pieces come over gRPC's ModelStreamInfer alone", field="stream")
        told = await do_task(self._service, task, hosted.deployment, asked, self._limits)
        reply = task_reply(hosted, request, told)
        return replace(reply, timings=Timings(infer_ms=(time.monotonic() - started) * _MS))

    async def _asked(
        self, hosted: HostedModel, task: Task, request: InferRequest, charge: Charge, deadline: float | None
    ) -> TaskRequest:
        """What a request asks, which is paid."""
        terms = read_task_terms(request)
        until = self._until(deadline, terms)

        def read() -> tuple[TaskRequest, Weight]:
            asked = read_task(self._limits, hosted, request, until, terms.lane)
            return asked, task_weight(task, asked, self._limits)

        asked, weight = await asyncio.to_thread(read)
        charge(weight, task)
        return asked

    def _versions(self, name: str) -> list[int]:
        return [one.version for one in self._service.hosted.versions(name)]

    def _until(self, deadline: float | None, terms: RequestTerms) -> float | None:
        """The earlier of the two deadlines."""
        if terms.timeout_s is None:
            return deadline
        until = time.monotonic() + min(terms.timeout_s, self.max_timeout_s)
        return until if deadline is None else min(until, deadline)
