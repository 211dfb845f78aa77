"""Whole tasks as calls of one Triton server: see task_wire for what travels."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from vlp_spec.errors import InternalError
from vlp_spec.triton_names import ANSWER, IMAGE, OPTIONS, RESULT, TEXT, task_model_name

from vlp_server.engines.base import TaskCall
from vlp_server.engines.task_wire import STREAM_OPTION
from vlp_server.engines.triton_server import TritonServer

_FINAL = "triton_final_response"


async def ask_at(server: TritonServer, call: TaskCall, timeout_s: float) -> list[bytes]:
    """Do a task that answers at once; errors as of TritonServer.calling."""
    with server.calling():
        result = await server.client.infer(**_arguments(call), client_timeout=timeout_s)
    return [bytes(one) for one in result.as_numpy(RESULT)]


async def stream_at(server: TritonServer, call: TaskCall, timeout_s: float) -> AsyncGenerator[bytes | str]:
    """The answers of a decoupled model; being closed early cancels the writing there. Errors as `ask_at`."""
    arguments = _arguments(call)

    async def requests() -> AsyncGenerator[dict[str, Any]]:
        yield arguments

    answers = server.client.stream_infer(requests(), stream_timeout=timeout_s)
    is_whole = False
    try:
        with server.calling():
            async for answer, error in answers:
                if error is not None:
                    raise error
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


def _arguments(call: TaskCall) -> dict[str, Any]:
    """Of tritonclient's `infer`."""
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
        "model_name": task_model_name(call.model, call.task),
        "model_version": str(call.version),
        "inputs": tensors,
    }


def _only(answer: Any, name: str) -> bytes | None:
    """The one value of a BYTES output; None where the answer has none."""
    values = answer.as_numpy(name)
    return None if values is None or not len(values) else bytes(values[0])
