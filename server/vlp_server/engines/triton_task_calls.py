"""Whole tasks as calls of one Triton server: see task_wire for what travels."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from vlp_spec.errors import InternalError
from vlp_spec.triton_names import (
    ANSWER,
    IMAGE,
    LANE_PARAMETER,
    OPTIONS,
    RESULT,
    TEXT,
    TIMEOUT_PARAMETER,
    task_model_name,
)

from vlp_server.engines.base import CallTerms, TaskCall
from vlp_server.engines.task_wire import STREAM_OPTION
from vlp_server.engines.triton_server import AwayError, TritonServer

_FINAL = "triton_final_response"
_MS = 1000
_LONGEST_MS = 3_600_000  # more, a task model refuses


async def ask_at(server: TritonServer, call: TaskCall, terms: CallTerms) -> list[bytes]:
    """Do a task that answers at once; errors as of TritonServer.calling."""
    arguments, silence = await asyncio.to_thread(_arguments, call, terms), server.tasks[name_of(call)]
    with server.calling(silence):
        result = await server.client.infer(**arguments, client_timeout=terms.timeout_s)
        results = result.as_numpy(RESULT)
        if results is None:  # an answer without its outputs; another server may have them
            raise AwayError(f"Triton at {server.url}: an answer of {arguments['model_name']} without {RESULT!r}")
    return [bytes(one) for one in results]


async def stream_at(server: TritonServer, call: TaskCall, terms: CallTerms) -> AsyncGenerator[bytes | str]:
    """The answers of a decoupled model; being closed early cancels the writing there. Errors as `ask_at`."""
    arguments, silence = await asyncio.to_thread(_arguments, call, terms), server.tasks[name_of(call)]

    async def requests() -> AsyncGenerator[dict[str, Any]]:
        yield arguments

    answers = server.client.stream_infer(requests(), stream_timeout=terms.timeout_s)
    is_whole = False
    try:
        with server.calling(silence):
            async for answer, error in answers:
                if error is not None:
                    raise error
                silence.heard()
                if (piece := _only(answer, ANSWER)) and call.options.get(STREAM_OPTION):
                    yield piece.decode()
                if result := _only(answer, RESULT):
                    is_whole = True
                    yield result
                if answer.get_response().parameters[_FINAL].bool_param:
                    break
        if not is_whole:
            raise InternalError(detail=f"Triton at {server.url}: a caption ended without its end")
    finally:
        answers.cancel()


def name_of(call: TaskCall) -> str:
    """What Triton calls the model that does it."""
    return task_model_name(call.model, call.task)


def _arguments(call: TaskCall, terms: CallTerms) -> dict[str, Any]:
    """Of tritonclient's `infer`; pictures are copied, so it is for a thread."""
    given: dict[str, list[bytes]] = {
        IMAGE: list(call.images),
        TEXT: [text.encode() for text in call.texts],
        OPTIONS: [json.dumps(dict(call.options)).encode()],
    }
    tensors = []
    for name, values in given.items():
        if not values:
            continue
        tensor = triton.InferInput(name, [len(values)], "BYTES")
        tensor.set_data_from_numpy(np.array(values, dtype=np.object_))
        tensors.append(tensor)
    return {
        "model_name": name_of(call),
        "model_version": str(call.version),
        "inputs": tensors,
        # A model without a queue of Triton's does not see Triton's own timeout and priority.
        "parameters": {
            TIMEOUT_PARAMETER: min(_LONGEST_MS, max(1, round(terms.timeout_s * _MS))),
            LANE_PARAMETER: str(terms.lane),
        },
    }


def _only(answer: Any, name: str) -> bytes | None:
    """The one value of a BYTES output; None where the answer has none."""
    values = answer.as_numpy(name)
    return None if values is None or not len(values) else bytes(values[0])
