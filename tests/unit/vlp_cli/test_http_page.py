from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from vlp_cli.generate import openapi_text
from vlp_cli.http_page import http_page
from vlp_server.http.problems import STATUS
from vlp_spec.errors import ErrorKind

DOCS = Path(__file__).parents[3] / "docs"
ON_NO_WIRE = {ErrorKind.CONFIG, ErrorKind.ARTIFACT, ErrorKind.PROOF}


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    return dict(json.loads(openapi_text()))


@pytest.fixture(scope="module")
def page(description: dict[str, Any]) -> str:
    return http_page(description)


def test_the_page_is_current(page: str) -> None:
    assert (DOCS / "http-api.md").read_text(encoding="utf-8") == page, "run: vlpserve generate"


def test_every_route_is_in_it_with_its_fields_and_statuses(page: str, description: dict[str, Any]) -> None:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            _, _, rest = page.partition(f"\n### {method.upper()} {path}\n")
            told = rest.partition("\n### ")[0].partition("\n## ")[0]
            assert operation["summary"] in told
            for status in operation["responses"]:
                assert status in told, (method, path, status)
            for body in operation.get("requestBody", {}).get("content", {}).values():
                for field in body["schema"].get("properties", {}):
                    assert f"| `{field}`" in told, (method, path, field)


def test_every_document_and_every_kind_is_in_it(page: str, description: dict[str, Any]) -> None:
    for name in description["components"]["schemas"]:
        assert f"\n### {name}\n" in page
    for kind, status in STATUS.items():
        assert (f"\n| {status} | `{kind}` | " in page) is (kind not in ON_NO_WIRE)


def test_a_field_says_its_type_its_bounds_and_whether_it_must_be_there() -> None:
    properties = {
        "count": {
            "anyOf": [{"type": "integer"}, {"type": "null"}],
            "minimum": 1,
            "maximum": 16,
            "description": "How many.",
        },
        "pair": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
        "side": {"enum": ["left", "right"], "default": "left"},
        "of": {"$ref": "#/components/schemas/Known"},
    }
    known = {"type": "object", "required": ["pair"], "properties": properties}
    page = http_page({"paths": {}, "components": {"schemas": {"Known": known}}})
    assert "| `count` | integer (1 to 16) |  | How many. |" in page
    assert "| `pair` | list of string (2) | required |  |" in page
    assert '| `side` | `"left"`, `"right"` | `"left"` |  |' in page
    assert "| `of` | [Known](#known) |  |  |" in page
