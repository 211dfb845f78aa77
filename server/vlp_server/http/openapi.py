"""What the generator of the OpenAPI description cannot see: three ways to send a picture, headers, and the problems."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from vlp_server.http.body_forms import IMAGE
from vlp_server.http.context import REQUEST_ID_HEADER, TIMEOUT_HEADER
from vlp_server.http.picture_request import CallShape
from vlp_server.http.problems import PROBLEM_MEDIA_TYPE

REFERENCE = "#/components/schemas/{model}"
_DEFINITIONS = "#/$defs/"
_RAW_ONLY = " Only with an image/* body; elsewhere the fields are in the body."


def _inline_schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    # A reference counts from the root of the whole description, where these are not.
    schema = dict(_resolved(schema, schema.pop("$defs", {})))
    for field in schema["properties"].values():
        field.pop("title", None)
    return schema


def _resolved(value: Any, definitions: Mapping[str, Any]) -> Any:
    """A schema with its definitions in the place of the references to them; none holds itself."""
    if isinstance(value, list):
        return [_resolved(item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    found = definitions.get(str(value.get("$ref", "")).removeprefix(_DEFINITIONS), {})
    rest = {key: item for key, item in value.items() if not (key == "$ref" and found)}
    return {key: _resolved(item, definitions) for key, item in {**found, **rest}.items()}


_BINARY = {"type": "string", "format": "binary"}
_EVENT = {
    "type": "object",
    "description": "One event: its name, where it has one, and what it says.",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
}
_FILE_TEXTS = {
    (IMAGE, 1): "The picture, as a file.",
    (IMAGE, 2): "The two pictures, as files, left first.",
    ("regions", 1): "In place of the picture: its regions with their features, as an .npz file.",
    ("regions", 2): "In place of both pictures: their regions with their features, as .npz files, left first.",
}


def _form_schema(shape: CallShape[Any]) -> dict[str, Any]:
    schema = _inline_schema(shape.fields)
    files = {
        name: {**_file_schema(shape.pictures), "description": _FILE_TEXTS[name, shape.pictures]} for name in shape.files
    }
    schema["properties"] = {**files, **schema["properties"]}
    schema["required"] = [IMAGE] if shape.needs_picture and len(files) == 1 else []
    if len(files) > 1:
        schema["oneOf"] = [{"required": [name]} for name in files]
    schema["title"] = shape.fields.__name__.replace("Fields", "Form")
    schema["description"] = "A list is a repeated field, or one field with a JSON list; an object is JSON."
    return schema


def _file_schema(count: int) -> dict[str, Any]:
    return _BINARY if count == 1 else {"type": "array", "items": _BINARY, "minItems": count, "maxItems": count}


def _query_parameters(shape: CallShape[Any]) -> list[dict[str, Any]]:
    schema = _inline_schema(shape.fields)
    parameters: list[dict[str, Any]] = []
    for name, field in schema["properties"].items():
        described = copy.deepcopy(field)
        text = described.pop("description", "")
        parameters.append({"name": name, "in": "query", "description": text + _RAW_ONLY, "schema": described})
    return parameters


def _header_parameters() -> list[dict[str, Any]]:
    return [
        {
            "name": TIMEOUT_HEADER,
            "in": "header",
            "description": "Milliseconds after which nobody waits for the answer any more.",
            "schema": {"type": "integer", "minimum": 1},
        },
        {
            "name": REQUEST_ID_HEADER,
            "in": "header",
            "description": "Name of this request in logs and errors, up to 128 letters, digits and ._:-; a new one "
            "where it is left out or another.",
            "schema": {"type": "string"},
        },
    ]


def picture_operation(shape: CallShape[Any]) -> dict[str, Any]:
    """The description of a route that takes a picture in the three ways, or two pictures in two."""
    content = {
        "multipart/form-data": {"schema": _form_schema(shape)},
        "application/json": {"schema": _inline_schema(shape.json)},
    }
    if shape.pictures == 1:
        content["image/*"] = {"schema": _BINARY}
    query = _query_parameters(shape) if shape.pictures == 1 else []
    return {
        "parameters": [*query, *_header_parameters()],
        "requestBody": {"required": True, "content": content},
    }


def json_operation(body: type[BaseModel]) -> dict[str, Any]:
    """The description of a route that takes JSON alone."""
    return {
        "parameters": _header_parameters(),
        "requestBody": {"required": True, "content": {"application/json": {"schema": _inline_schema(body)}}},
    }


def items_operation(body: type[BaseModel]) -> dict[str, Any]:
    """The description of a route that takes several pictures, with an id and metadata for each."""
    text = {"type": "string", "description": "Once for each picture, or not at all."}
    many = {"type": "array", "items": _BINARY, "description": "Pictures, as files."}
    columns = {"id": {"type": "array", "items": text}, "metadata": {"type": "array", "items": text}}
    form = {"type": "object", "properties": {"image": many, **columns}, "required": ["image"]}
    query = [
        {"name": name, "in": "query", "description": f"The item's {name}.{_RAW_ONLY}", "schema": {"type": "string"}}
        for name in columns
    ]
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Items without an id get the same ids whenever the call is made again with the same key.",
        "schema": {"type": "string", "maxLength": 256},
    }
    return {
        "parameters": [*query, key, *_header_parameters()],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _inline_schema(body)},
                "multipart/form-data": {"schema": form},
                "image/*": {"schema": _BINARY},
            },
        },
    }


def event_content(example: str) -> dict[str, Any]:
    """A response that is sent piece by piece, with what each event holds; `example` shows one."""
    return {"schema": _EVENT, "example": example}


def openai_problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses of a route whose errors have OpenAI's form."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/OpenAIErrorDocument"}}},
        }
        for status in statuses
    }


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses of a route that are problems, for its description."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status in statuses
    }
