"""A whole task as a model of Triton's Python backend: picture and text in, answer out.

The service of the gateway runs in this process, with the graphs of the same Triton as its engine. Requests are
answered as they are done, through their response senders, so that many are under way at a time and one that is slow,
broken or cancelled hurts no other. Captions are decoupled: piece by piece, and last the whole. Answers are kept by the
service. Triton's response cache would keep errors, too, and give them again as successes without outputs (2.51).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vlp_spec.errors import CancelledError, DeadlineError, ErrorKind, InternalError, StartupError, VlpError
from vlp_spec.found_deployment import find_deployment, find_encoder
from vlp_spec.tasks import Task
from vlp_spec.triton_names import ANSWER, RESULT

from vlp_server.config.settings import LimitsConfig
from vlp_server.core.admission import Admission
from vlp_server.core.records import ModelState
from vlp_server.core.service import Service
from vlp_server.core.settings import CoreSettings, ModelSettings
from vlp_server.engines.settings import EngineSettings
from vlp_server.engines.task_wire import fault_text
from vlp_server.task_models.task_calls import do_task, stream_task
from vlp_server.task_models.task_records import TaskReply, TaskRequest
from vlp_server.triton.bls_engine import BlsEngine
from vlp_server.triton.parameters import parameters_of, repository_of
from vlp_server.triton.task_request import read_request

logger = logging.getLogger(__name__)
_START_LIMIT_S = 120.0
_DRAIN_S = 10.0
_LOOK_S = 0.05
# A task model may be there before its graphs; who asks in that moment waits a little.
_GRAPHS_WAIT_S = 10.0
_WAITING_RETRY_S = 2.0


class TaskModel:
    """One task of one deployment. Its parameters: deployment, task, and threads of what runs in this process.

    Args:
        backend: the module triton_python_backend_utils.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def initialize(self, args: dict[str, str]) -> None:
        """Load the pipeline. The graphs are proved when the first request comes.

        Raises:
            StartupError: the deployment cannot be used.
        """
        given = parameters_of(args)
        self._task = Task(given["task"])
        self._reference = f"{given['deployment']}@{args['model_version']}"
        root = repository_of(args)
        engine = EngineSettings(engine="triton", triton_urls=("in-process:0",), threads=int(given.get("threads", "0")))
        references = [self._reference, *_extractor(root, self._reference)]
        settings = CoreSettings(
            models=tuple(ModelSettings(reference=one, repository=root, engine=engine) for one in references),
        )
        self._limits = LimitsConfig()
        self._waiting = Admission(settings.admission)
        self._were_ready = False
        self._wanted = asyncio.Event()
        self._service = Service(settings, make_engine=lambda made: BlsEngine(made, self._backend, self._wanted))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tasks", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(_START_LIMIT_S)
        except Exception:
            self.finalize()  # Triton does not call it for a model that did not start
            raise

    def execute(self, requests: Sequence[Any]) -> None:
        """Begin to answer; answers go by the requests' senders."""
        if not self._wanted.is_set():
            self._loop.call_soon_threadsafe(self._wanted.set)
        for request in requests:
            sender = request.get_response_sender()
            try:
                asked = read_request(self._backend, request)
            except VlpError as error:
                self._send_error(sender, error)
                continue
            except Exception as error:  # of one request; those that came with it are answered
                logger.exception("a request could not be read")
                self._send_error(sender, InternalError(detail=repr(error)))
                continue
            asyncio.run_coroutine_threadsafe(self._answer(request, asked, sender), self._loop)

    def finalize(self) -> None:
        """Let what is under way end, then stop."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_DRAIN_S * 2)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_DRAIN_S)
        if not self._thread.is_alive():
            self._loop.close()

    async def _start(self) -> None:
        await self._service.start()
        await self._service.wait_ready(_START_LIMIT_S)
        failed = [card.reason for card in self._service.models() if card.state is ModelState.FAILED]
        if failed:
            raise StartupError("; ".join(failed))

    async def _stop(self) -> None:
        await self._service.drain(_DRAIN_S)
        await self._service.close()

    async def _answer(self, request: Any, asked: TaskRequest, sender: Any) -> None:
        work = asyncio.ensure_future(self._work(asked, sender))
        try:
            while not (await asyncio.wait({work}, timeout=_LOOK_S))[0]:
                if request.is_cancelled():
                    work.cancel()  # once: its own clean-up must not be interrupted
                    await asyncio.wait({work})
            work.result()
        except asyncio.CancelledError:
            self._send_error(sender, CancelledError("the caller has gone away"))
        except VlpError as error:
            self._send_error(sender, error)
        except Exception as error:
            logger.exception("a request failed")
            self._send_error(sender, InternalError(detail=repr(error)))

    async def _work(self, asked: TaskRequest, sender: Any) -> None:
        await self._graphs_there(asked)
        final = self._backend.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        if self._task is not Task.CAPTION:
            reply = await do_task(self._service, self._task, self._reference, asked, self._limits)
            sender.send(self._response(reply), flags=final)
            return
        # The whole comes last, and ends the answers with it: an empty end that is sent right behind it has been seen to
        # crash the backend, once in a thousand captions.
        async with aclosing(stream_task(self._service, self._reference, asked, self._limits)) as news:
            async for one in news:
                sender.send(self._response(one), flags=final if one.results else 0)
                if one.results:
                    return
        raise InternalError(detail="a caption ended without its end")

    async def _graphs_there(self, asked: TaskRequest) -> None:
        """Wait for graphs that Triton may still be loading; where they have gone again, the service refuses at once.

        Raises:
            DeadlineError: they did not come in the caller's time.
            OverloadedError: as many requests, or bytes of pictures, wait as may be inside.
        """
        loop = asyncio.get_running_loop()
        with self._waiting.enter(asked.size_bytes, _WAITING_RETRY_S):
            end = loop.time() + _GRAPHS_WAIT_S
            while not self._seen_ready() and loop.time() < end:
                if asked.deadline is not None and loop.time() >= asked.deadline:
                    raise DeadlineError("the deadline passed while the request waited for the model")
                await asyncio.sleep(_LOOK_S)

    def _seen_ready(self) -> bool:
        self._were_ready = self._were_ready or self._service.readiness().ready
        return self._were_ready

    def _response(self, reply: TaskReply) -> Any:
        tensor = self._backend.Tensor
        tensors = [tensor(name, array) for name, array in reply.arrays.items()]
        if not reply.arrays:
            tensors.append(tensor(ANSWER, _objects([answer.encode() for answer in reply.answers])))
        tensors.append(tensor(RESULT, _objects(reply.results)))
        return self._backend.InferenceResponse(output_tensors=tensors)

    def _send_error(self, sender: Any, error: VlpError) -> None:
        if error.detail:
            logger.info("%s (%s)", error.message, error.detail)
        fault = self._backend.TritonError(fault_text(error), _code(self._backend.TritonError, error.kind))
        response = self._backend.InferenceResponse(error=fault)
        sender.send(response, flags=self._backend.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def _extractor(root: Any, reference: str) -> list[str]:
    """What makes the region features that a model reads, where it reads some."""
    image = find_deployment(root, reference).deployment.image
    name = str(image.get("extractor", ""))
    found = find_encoder(root, name, str(image.get("extractor_digest", ""))) if name else None
    return [] if found is None else [f"{name}@{found.deployment.version}"]


def _code(codes: Any, kind: ErrorKind) -> Any:
    """Triton's code of a kind."""
    match kind:
        case (
            ErrorKind.INVALID_ARGUMENT
            | ErrorKind.INVALID_IMAGE
            | ErrorKind.TOO_LARGE
            | ErrorKind.UNSUPPORTED_MEDIA_TYPE
            | ErrorKind.TASK_NOT_SUPPORTED
        ):
            return codes.INVALID_ARG
        case ErrorKind.MODEL_NOT_FOUND | ErrorKind.NO_EXTRACTOR:
            return codes.NOT_FOUND
        case ErrorKind.OVERLOADED | ErrorKind.RATE_LIMITED | ErrorKind.UNAVAILABLE | ErrorKind.DEADLINE_EXCEEDED:
            return codes.UNAVAILABLE
        case ErrorKind.CANCELLED:
            return codes.CANCELLED
    return codes.INTERNAL


def _objects(values: Sequence[bytes]) -> NDArray[np.object_]:
    return np.array(list(values), dtype=np.object_)
