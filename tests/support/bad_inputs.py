"""What callers send by mistake or on purpose, and exactly what each gets. Used over ASGI and against a real process."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pictures_made as pictures

QUESTION = {"question": "what is this?"}


@dataclass(frozen=True)
class Case:
    """A call with a picture as a file, and what comes back; `kind` None means a right answer."""

    name: str
    status: int
    kind: str | None
    picture: bytes = field(default_factory=pictures.jpeg)
    fields: dict[str, Any] = field(default_factory=lambda: QUESTION)
    field_at_fault: str | None = None


CASES = [
    Case("not an image", 422, "invalid_image", b"%PDF-1.4 this is something else"),
    Case("an empty file", 422, "invalid_image", b""),
    Case("a truncated JPEG", 422, "invalid_image", pictures.truncated_jpeg()),
    Case("one pixel", 200, None, pictures.one_pixel()),
    Case("a decompression bomb", 413, "too_large", pictures.header_bomb()),
    Case("an animated picture", 200, None, pictures.animated()),
    Case("a CMYK picture", 200, None, pictures.cmyk()),
    Case("a 16-bit picture", 200, None, pictures.sixteen_bit()),
    Case("a picture with an EXIF rotation", 200, None, pictures.exif_rotated()),
    Case("an empty question", 400, "invalid_argument", fields={"question": " "}, field_at_fault="question"),
    Case("no question", 400, "invalid_argument", fields={}, field_at_fault="question"),
    Case("ten thousand words", 413, "too_large", fields={"question": "word " * 10_000}),
    Case("too many questions", 413, "too_large", fields={"questions": [f"is it {n}?" for n in range(65)]}),
    Case("an unknown model", 404, "model_not_found", fields={**QUESTION, "model": "no-such-model"}),
    Case("a wrong field", 400, "invalid_argument", fields={**QUESTION, "colour": "red"}, field_at_fault="colour"),
    Case("a top_k of text", 400, "invalid_argument", fields={**QUESTION, "top_k": "five"}, field_at_fault="top_k"),
    Case("a top_k of 0", 400, "invalid_argument", fields={**QUESTION, "top_k": "0"}, field_at_fault="top_k"),
    Case(
        "an answer that the model does not know",
        400,
        "invalid_argument",
        fields={**QUESTION, "answers": ["red", "a submarine"]},
        field_at_fault="answers",
    ),
    Case("a body over the limit", 413, "too_large", bytes(26 * 1024 * 1024)),
    Case("a picture over its limit", 413, "too_large", bytes(21 * 1024 * 1024)),
]
CASE_NAMES = [case.name for case in CASES]


def check_reply(case: Case, response: Any) -> None:
    """Assert on status, kind and the form of the reply."""
    body = response.json()
    assert response.status_code == case.status, body
    if case.kind is None:
        assert body["answers"]
        return
    assert response.headers["content-type"] == "application/problem+json"
    assert body["kind"] == case.kind
    assert body["status"] == case.status
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["detail"]
    assert body.get("field") == case.field_at_fault
