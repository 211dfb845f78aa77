"""The application and its OpenAPI description: what the generator makes, the documents of faults, and API keys."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.routing import compile_path

from vlp_server.http.access import KEY_HEADER
from vlp_server.http.context import is_oip, speaks_openai
from vlp_server.http.oip_schemas import OipErrorDocument, OipWantedOutput, oip_problem_responses
from vlp_server.http.openapi import REFERENCE, openai_problem_responses, problem_responses
from vlp_server.http.route_roles import RouteRoles
from vlp_server.http.schemas import OpenAIErrorDocument, ProblemDocument

_KEY = "An API key. Only where the operator has given keys; without them everybody is answered."
_SCHEMES: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": _KEY},
    "header": {"type": "apiKey", "in": "header", "name": KEY_HEADER, "description": _KEY},
}


class DescribedApp(FastAPI):
    """FastAPI with a description of its own.

    Args:
        roles: what each route needs.
        settings: FastAPI's.
    """

    def __init__(self, *, roles: RouteRoles, **settings: Any) -> None:
        super().__init__(**settings)
        self._roles = roles

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI description."""
        # The generator makes it once, and gives the same one ever after: doing this again changes nothing.
        description = super().openapi()
        components = description.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        for document in (ProblemDocument, OpenAIErrorDocument, OipErrorDocument, OipWantedOutput):
            schema = document.model_json_schema(ref_template=REFERENCE)
            # Where its references look for them.
            for name, definition in {**schema.pop("$defs", {}), document.__name__: schema}.items():
                schemas.setdefault(name, definition)
        components["securitySchemes"] = _SCHEMES
        for path, operations in description["paths"].items():
            for method, operation in operations.items():
                self._describe_need(method.upper(), path, operation)
        return description

    def methods_of(self, path: str) -> list[str]:
        """The methods of all described routes that a path leads to."""
        found = [item for route, item in self.openapi()["paths"].items() if compile_path(route)[0].match(path)]
        return sorted({method.upper() for operations in found for method in operations})

    def _describe_need(self, method: str, path: str, operation: dict[str, Any]) -> None:
        """The role that an operation needs, named in its security as OpenAPI 3.1 has it, and how it refuses others."""
        role = self._roles.of(method, path).role
        if role is None:
            return
        operation["security"] = [{scheme: [str(role)]} for scheme in _SCHEMES]
        refusals = openai_problem_responses(401, 403) if speaks_openai(path) else problem_responses(401, 403)
        if is_oip(path):
            refusals = oip_problem_responses(401, 403)
        for status, response in refusals.items():
            operation["responses"].setdefault(str(status), response)
