"""What the generator of the OpenAPI description cannot see: three ways to send a picture, headers, and the problems."""

from __future__ import annotations

import copy
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from vlp_server.http.context import REQUEST_ID_HEADER, TIMEOUT_HEADER
from vlp_server.http.problems import PROBLEM_MEDIA_TYPE
from vlp_server.http.schemas import ProblemDocument
from vlp_server.http.vqa_fields import VqaFields, VqaJson

_RAW_ONLY = " Only with an image/* body; elsewhere the fields are in the body."


def _inline_schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    for field in schema["properties"].values():
        field.pop("title", None)
    return schema


def _form_schema() -> dict[str, Any]:
    schema = _inline_schema(VqaFields)
    picture = {"type": "string", "format": "binary", "description": "The picture, as a file."}
    schema["properties"] = {"image": picture, **schema["properties"]}
    schema["required"] = ["image"]
    schema["title"] = "VqaForm"
    schema["description"] = "A list is a repeated field, or one field with a JSON list."
    return schema


def _query_parameters() -> list[dict[str, Any]]:
    schema = _inline_schema(VqaFields)
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
            "description": "Name of this request in logs and errors; a new one where left out.",
            "schema": {"type": "string", "maxLength": 128},
        },
    ]


VQA_OPERATION: dict[str, Any] = {
    "parameters": [*_query_parameters(), *_header_parameters()],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": _form_schema()},
            "application/json": {"schema": _inline_schema(VqaJson)},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    },
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


class DescribedApp(FastAPI):
    """FastAPI whose description has the problem document among its schemas."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI description."""
        description = super().openapi()
        schemas = description.setdefault("components", {}).setdefault("schemas", {})
        schemas.setdefault("ProblemDocument", ProblemDocument.model_json_schema())
        return description
