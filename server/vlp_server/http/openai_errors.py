"""Faults as OpenAI's clients read them: the one table from kind to type, code and whether to send it again.

Statuses are those of `problems.STATUS`, by which the clients choose the class of their error. The members of the
problem document stand beside `error`, so that whoever reads those is served by the same body.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlp_spec.errors import ErrorKind

if TYPE_CHECKING:
    from vlp_server.http.problems import DoorKind

RETRY_HEADER = "X-Should-Retry"
_LEAST_OF_SERVER = 500


@dataclass(frozen=True, slots=True)
class OpenAIWords:
    """What OpenAI calls a fault.

    Attributes:
        type: of a wide class of faults.
        code: of this one; None: the kind itself, which OpenAI has no word for, or the same.
    """

    type: str
    code: str | None = None


_REQUEST = OpenAIWords("invalid_request_error")
_SERVER = OpenAIWords("server_error")
_BY_STATUS: Mapping[int, OpenAIWords] = {
    401: OpenAIWords("invalid_request_error", "invalid_api_key"),
    403: OpenAIWords("permission_error"),
    429: OpenAIWords("rate_limit_error", "rate_limit_exceeded"),
}
# The clients send these again by themselves, and would get the same answer.
_IN_VAIN = frozenset(
    {
        ErrorKind.MODEL_CONFLICT,
        ErrorKind.COLLECTION_EXISTS,
        ErrorKind.ENCODER_MISMATCH,
        ErrorKind.NO_PICTURES,
        ErrorKind.NO_EXTRACTOR,
        ErrorKind.INFERENCE_FAILED,
    }
)


def openai_error(kind: ErrorKind | DoorKind, status: int, message: str, param: str | None) -> dict[str, Any]:
    """The member `error` of the document."""
    words = _BY_STATUS.get(status) or (_SERVER if status >= _LEAST_OF_SERVER else _REQUEST)
    return {"message": message, "type": words.type, "param": param, "code": words.code or str(kind)}


def openai_headers(kind: ErrorKind | DoorKind) -> dict[str, str]:
    """Headers that OpenAI's clients heed."""
    return {RETRY_HEADER: "false"} if kind in _IN_VAIN else {}
