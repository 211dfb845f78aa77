"""An inference reply -> bytes: JSON, and behind it the tensors that were asked for as binary data."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

from starlette.responses import Response
from vlp_spec.errors import InvalidArgumentError

from vlp_server.http.held_response import HeldResponse
from vlp_server.http.oip_body import BINARY_SIZE
from vlp_server.http.oip_schemas import BINARY_HEADER
from vlp_server.oip.records import InferReply, InferRequest
from vlp_server.oip.tensor_data import raw_of, values_of

_BINARY, _BINARY_ALL = "binary_data", "binary_data_output"


def encode_reply(request: InferRequest, reply: InferReply) -> tuple[bytes, int | None]:
    """The body, and how much of it is JSON; None where all is.

    Raises:
        InvalidArgumentError: an output that is no text is wanted in JSON, or a parameter is no truth value.
    """
    wanted = {output.name: output.parameters.get(_BINARY) for output in request.outputs}
    # A model asked by its bytes alone answers in bytes.
    default = request.parameters.get(_BINARY_ALL, request.whole_body is not None)
    documents: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for output in reply.outputs:
        chosen = wanted.get(output.name)
        binary = default if chosen is None else chosen
        if not isinstance(binary, bool):
            raise InvalidArgumentError(f"{_BINARY}: got {binary!r:.40}, expected true or false", field=_BINARY)
        document: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
        if binary:
            tail.append(raw_of(output))
            document["parameters"] = {BINARY_SIZE: len(tail[-1])}
        else:
            document["data"] = values_of(output)
        documents.append(document)
    answer: dict[str, Any] = {"model_name": reply.name, "model_version": reply.version, "outputs": documents}
    if reply.id:
        answer["id"] = reply.id
    text = json.dumps(answer).encode()
    return b"".join([text, *tail]), len(text) if tail else None


def reply_response(body: bytes, json_bytes: int | None, held: ExitStack) -> Response:
    """The answer to send."""
    if json_bytes is None:
        return HeldResponse(body, held, media_type="application/json")
    headers = {BINARY_HEADER: str(json_bytes)}
    return HeldResponse(body, held, media_type="application/octet-stream", headers=headers)
