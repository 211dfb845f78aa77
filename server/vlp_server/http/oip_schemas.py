"""Documents of the Open Inference Protocol, for the OpenAPI description: what goes over the wire, and its errors."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field

_BINARY = (
    "With `Inference-Header-Content-Length` the body is so many bytes of JSON, and then the bytes of every input that "
    "names its `binary_data_size`, one after another. With 0 there is no JSON: the body is the only input of the model."
)
BINARY_HEADER = "Inference-Header-Content-Length"
_TENSOR_TEXT = "Whole numbers, the batch first."


class OipErrorDocument(BaseModel):
    """An error in the form of the Open Inference Protocol; its text begins with the kind."""

    error: str


class OipServer(BaseModel):
    """Server metadata."""

    name: str
    version: str
    extensions: list[str]


class OipTensor(BaseModel):
    """A tensor of a model; -1 is a size that a request chooses."""

    name: str
    datatype: str
    shape: list[int]


class OipModel(BaseModel):
    """Model metadata."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[OipTensor]
    outputs: list[OipTensor]


class OipLive(BaseModel):
    """Whether the process works."""

    live: bool


class OipReady(BaseModel):
    """Whether requests should come here."""

    ready: bool


class OipModelReady(BaseModel):
    """Whether a model answers."""

    name: str
    ready: bool


class OipModelLine(BaseModel):
    """A line of the repository's index."""

    name: str
    version: str
    state: str
    reason: str


class OipStatistics(BaseModel):
    """What was asked of some models, as Triton counts it."""

    model_stats: list[dict[str, Any]]


class OipSentTensor(BaseModel):
    """An input as it is sent."""

    name: str
    shape: list[int] = Field(description=_TENSOR_TEXT)
    datatype: str
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class OipWantedOutput(BaseModel):
    """An output that is wanted."""

    name: str
    parameters: dict[str, Any] = {}


class OipInferRequest(BaseModel):
    """A request."""

    id: str = ""
    parameters: dict[str, Any] = {}
    inputs: list[OipSentTensor]
    outputs: list[OipWantedOutput] = []


class OipInferResponse(BaseModel):
    """An answer; outputs that were asked for as binary data have their size here and their bytes behind the JSON."""

    model_name: str
    model_version: str
    id: str = ""
    outputs: list[OipSentTensor]


class OipIndexRequest(BaseModel):
    """Which models to list."""

    ready: bool = False


def oip_problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses of a route whose errors have the protocol's form."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/OipErrorDocument"}}},
        }
        for status in statuses
    }


def infer_operation() -> dict[str, Any]:
    """The description of an inference request: JSON, or JSON with bytes behind it."""
    header = {
        "name": BINARY_HEADER,
        "in": "header",
        "description": _BINARY,
        "schema": {"type": "integer", "minimum": 0},
    }
    binary = {"schema": {"type": "string", "format": "binary"}}
    schema = OipInferRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    return {
        "parameters": [header],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema}, "application/octet-stream": binary},
        },
    }
