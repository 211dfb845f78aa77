"""docs/http-api.md: what docs/openapi.json describes, for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vlp_server.http.problems import STATUS, DoorKind
from vlp_spec.errors import ErrorKind, StartupError, VlpError

Schema = Mapping[str, Any]

_HEAD = """# The HTTP API

Made by `vlpserve generate` from `docs/openapi.json`; do not edit. `/docs` of a running server shows the same. How each
call looks in curl, Python and the command: [getting-started.md](getting-started.md).

**Pictures** travel as files of `multipart/form-data`, as a raw `image/*` body with the other fields in the query, or in
JSON as base64, a data URI or, where the operator allows it, an http(s) URL. In a form a list is a repeated field or one
field with a JSON list, and an object is JSON. Unknown fields are refused.

**Headers of a request**, all optional: `Authorization: Bearer KEY` or `X-Api-Key: KEY` where the server asks for keys
([access.md](access.md)); `X-Request-Timeout-Ms`, after which nobody waits for the answer any more; `X-Request-Id`, the
request's name in logs and errors. **Of an answer**: `X-Request-Id`; `Server-Timing`, where the time went; `Retry-After`
on 429 and 503; `RateLimit-*` where the caller has a rate.
"""

_ERRORS = """
## Errors

A problem document (`application/problem+json`, RFC 9457); `kind` is stable and made for programs. Those of
`/v1/chat/completions`, `/v1/embeddings` and `/v1/models` are OpenAI's ([openai.md](openai.md)), with the same members
beside; those of `/v2` are the protocol's ([oip.md](oip.md)). Each route lists its statuses; any request may also be
refused before its route is known, with 400, 408, 413, 415, 429, 431 or 503.
"""

_OF_THE_DOOR: Mapping[ErrorKind | DoorKind, str] = {
    DoorKind.NOT_FOUND: "There is nothing at this path.",
    DoorKind.METHOD_NOT_ALLOWED: "The path takes another method.",
    DoorKind.REQUEST_TIMEOUT: "The request did not arrive in time.",
    DoorKind.HEADERS_TOO_LARGE: "Request line and headers are over a limit.",
}
_TITLES = {
    "tasks": "Tasks",
    "collections": "Collections",
    "models": "Models",
    "admin": "Changes of models",
    "open inference protocol": "Open Inference Protocol",
    "operation": "Operation",
}
_COMMON_HEADERS = ("X-Request-Timeout-Ms", "X-Request-Id")


def http_page(description: Mapping[str, Any]) -> str:
    """The page of an OpenAPI description."""
    parts = [_HEAD + _ERRORS, *_table(("status", "kind", "meaning"), _kinds())]
    operations = [
        (method, path, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    tags = dict.fromkeys([*_TITLES, *(_tag(operation) for *_, operation in operations)])
    for tag in tags:
        of_tag = [one for one in operations if _tag(one[2]) == tag]
        if of_tag:
            parts.append(f"\n## {_TITLES.get(tag, tag.capitalize())}")
        for method, path, operation in of_tag:
            parts += _operation(method, path, operation)
    parts.append("\n## Documents")
    for name, schema in sorted(description["components"]["schemas"].items()):
        parts += _document(name, schema)
    return "\n".join(parts) + "\n"


def _tag(operation: Schema) -> str:
    return str(next(iter(operation.get("tags", [])), "other"))


def _kinds() -> Iterator[tuple[str, ...]]:
    said: dict[ErrorKind | DoorKind, str] = dict(_OF_THE_DOOR)
    hidden: set[ErrorKind] = set()
    for error in _subclasses(VlpError):
        if "kind" in vars(error):
            # A group comes before its members, one of which has the group's kind for its own.
            said[error.kind] = (error.__doc__ or "").strip().split("\n")[0]
            hidden |= {error.kind} if issubclass(error, StartupError) else set()
    for kind, status in sorted(STATUS.items(), key=lambda item: (item[1], str(item[0]))):
        if kind not in hidden:
            yield str(status), f"`{kind}`", said[kind]


def _subclasses(error: type[VlpError]) -> Iterator[type[VlpError]]:
    for one in error.__subclasses__():
        yield one
        yield from _subclasses(one)


def _operation(method: str, path: str, operation: Schema) -> Iterator[str]:
    roles = sorted({role for way in operation.get("security", []) for names in way.values() for role in names})
    needs = f" A key needs the role {roles[0]}." if roles else " No key is needed."
    yield f"\n### {method.upper()} {path}\n"
    yield f"{operation['summary']}.{needs}\n"
    headers = [one for one in operation.get("parameters", []) if one["in"] == "header"]
    own = [one for one in headers if one["name"] not in _COMMON_HEADERS]
    for one in own:
        yield f"Header `{one['name']}`: {_words(one.get('description', ''))}\n"
    content = operation.get("requestBody", {}).get("content", {})
    queries = [one for one in operation.get("parameters", []) if one["in"] == "query"]
    if content:
        yield f"Body: {', '.join(f'`{media}`' for media in sorted(content))}.\n"
        yield from _table(("field", "type", "default", "meaning"), _fields_of_bodies(content))
        yield ""
    elif queries:
        rows = ((f"`{one['name']}`", *_row(one["schema"], one.get("required", False))) for one in queries)
        yield from _table(("query", "type", "default", "meaning"), rows)
        yield ""
    yield from _answers(operation["responses"])


def _answers(responses: Schema) -> Iterator[str]:
    good = {status: response for status, response in responses.items() if status < "300"}
    for status, response in good.items():
        kinds = [
            _type(body["schema"]) if body.get("schema") and media == "application/json" else f"`{media}`"
            for media, body in response.get("content", {}).items()
        ]
        said = _words(response.get("description", "")).removeprefix("Successful Response")
        yield f"Answer {status}: {' or '.join(kinds) or 'empty'}. {said}".rstrip() + "\n"
    bad = [status for status in responses if status not in good]
    if bad:
        yield f"Refused with {', '.join(bad)}."


def _fields_of_bodies(content: Schema) -> Iterator[tuple[str, ...]]:
    """The fields of the JSON body, then those that a form has in another way."""
    schemas = {media: body["schema"] for media, body in content.items() if "properties" in body["schema"]}
    body, form = schemas.get("application/json", {}), schemas.get("multipart/form-data", {})
    either = {name for choice in body.get("oneOf", []) for name in choice.get("required", [])}
    for name, field in body.get("properties", {}).items():
        row = _row(field, name in body.get("required", []))
        if name in either:
            row = (row[0], "one of these", row[2])
        yield f"`{name}`", *row
        yield from _inner_fields(name, field)
    for name, field in form.get("properties", {}).items():
        if "binary" in json.dumps(field) or name not in body.get("properties", {}):
            yield f"`{name}` of a form", *_row(field, name in form.get("required", []))


def _inner_fields(name: str, schema: Schema) -> Iterator[tuple[str, ...]]:
    """The fields of an object that is a field, or of which a field is a list."""
    for one in schema.get("anyOf", [schema]):
        inner, path = (one.get("items", {}), f"{name}[]") if one.get("type") == "array" else (one, name)
        for key, field in inner.get("properties", {}).items():
            yield f"`{path}.{key}`", *_row(field, key in inner.get("required", []))


def _document(name: str, schema: Schema) -> Iterator[str]:
    yield f"\n### {name}\n"
    if schema.get("description"):
        yield f"{_words(schema['description'])}\n"
    required = schema.get("required", [])
    rows = ((f"`{key}`", *_row(field, key in required)) for key, field in schema.get("properties", {}).items())
    yield from _table(("member", "type", "default", "meaning"), rows)


def _row(schema: Schema, required: bool) -> tuple[str, str, str]:
    default = json.dumps(schema["default"]) if schema.get("default") is not None else ""
    named = "required" if required else f"`{default}`" if default else ""
    inner = [one for one in schema.get("anyOf", []) if one.get("type") != "null"]
    meaning = schema.get("description") or next((one["description"] for one in inner if one.get("description")), "")
    return _type(schema), named, _words(meaning)


def _type(schema: Schema) -> str:
    """A type in words, with its bounds."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            kinds = dict.fromkeys(_type(one) for one in schema[choice] if one.get("type") != "null")
            return " or ".join(kinds) + _bounds(schema)
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(one)}`" for one in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}" + _bounds(schema)
    if schema.get("format") == "binary":
        return "file"
    if kind == "string" and schema.get("contentEncoding") == "base64":
        return "base64"
    return str(kind) + _bounds(schema)


def _bounds(schema: Schema) -> str:
    low = next((schema[key] for key in ("minimum", "minItems") if key in schema), None)
    high = next((schema[key] for key in ("maximum", "maxItems") if key in schema), None)
    above = f", above {schema['exclusiveMinimum']}" if "exclusiveMinimum" in schema else ""
    if low is not None and high is not None:
        return f" ({low} to {high})" if low != high else f" ({low})"
    return above if low is None else f", at least {low}"


def _table(titles: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    listed = list(rows)
    if listed:
        yield f"| {' | '.join(titles)} |"
        yield "|" + "---|" * len(titles)
    for row in listed:
        yield f"| {' | '.join(_words(cell).replace('|', chr(92) + '|') for cell in row)} |"


def _words(text: str) -> str:
    return " ".join(text.split())
