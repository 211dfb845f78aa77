"""GET /docs: the OpenAPI description as one plain page. No script and nothing from elsewhere: it also works offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:.5rem 0}td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:left;"
    "vertical-align:top}code,pre{background:#f4f4f4;padding:.1rem .3rem}h2{margin-top:2.5rem}"
)


def docs_page(description: Mapping[str, Any]) -> str:
    """The page.

    Args:
        description: the OpenAPI description of this door.
    """
    info = description["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info.get('description', ''))}</p>",
        "<p>For programs: <a href=openapi.json>openapi.json</a></p>",
    ]
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            parts.extend(_operation(method.upper(), path, operation))
    return "\n".join(parts)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2><code>{method} {escape(path)}</code></h2><p>{escape(operation.get('summary', ''))}</p>"
    for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h3>Body: {escape(media_type)}</h3>"
        schema = body["schema"]
        marks = {name: " (required)" for name in schema.get("required", ())}
        marks |= {name: " (one of these)" for option in schema.get("oneOf", ()) for name in option["required"]}
        rows = [
            (name + marks.get(name, ""), _kind(field), field.get("description", ""))
            for name, field in schema.get("properties", {}).items()
        ]
        yield _table(("field", "type", "meaning"), rows) if rows else "<p>The bytes of the picture.</p>"
    if parameters := operation.get("parameters"):
        rows = [(item["name"], item["in"], item.get("description", "")) for item in parameters]
        yield "<h3>Parameters</h3>" + _table(("name", "in", "meaning"), rows)
    # Two ways to send the same key: either names the role.
    for way in operation.get("security", ())[:1]:
        yield f"<p>Where keys are asked for: one with the role {escape(', '.join(*way.values()))}.</p>"
    rows = [
        (status, ", ".join(response.get("content", {})), response["description"])
        for status, response in operation["responses"].items()
    ]
    yield "<h3>Answers</h3>" + _table(("status", "type", "meaning"), rows)


def _kind(field: Mapping[str, Any]) -> str:
    """The type of a field in words; a field that may be left out is described without its null."""
    options = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    words = []
    for option in options:
        kind = str(option.get("type", "any"))
        words.append(f"list of {option['items'].get('type', 'any')}" if kind == "array" else kind)
    return " or ".join(words)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows]
    return "<table>" + "".join(lines) + "</table>"
