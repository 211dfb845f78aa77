"""A vector in JSON: a list of numbers, or base64 of little-endian float32."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

import numpy as np
from pydantic import Field
from vlp_spec.errors import InvalidArgumentError

from vlp_server.index.collection_rows import MAX_DIMENSION
from vlp_server.index.store import Vector

_MAX_CHARS = 4 * MAX_DIMENSION * 4 // 3 + 4

VectorValue = Annotated[
    list[float] | str,
    Field(description="Numbers, or base64 of little-endian float32, as /v1/embeddings gives them."),
]


def read_vector(value: list[float] | str, field: str) -> Vector:
    """The vector; its length and its numbers are checked where the collection is known.

    Raises:
        InvalidArgumentError: neither numbers nor base64 of whole float32, or too long for any collection.
    """
    if len(value) > (MAX_DIMENSION if isinstance(value, list) else _MAX_CHARS):
        raise InvalidArgumentError(f"{field}: more than {MAX_DIMENSION} numbers", field=field)
    if isinstance(value, str):
        try:
            data = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidArgumentError(f"{field}: neither a list of numbers nor base64", field=field) from None
        if len(data) % 4:
            raise InvalidArgumentError(
                f"{field}: {len(data)} bytes of base64 are no whole number of float32", field=field
            )
        vector = np.frombuffer(data, dtype="<f4").astype(np.float32)
    else:
        with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite, and is refused as such
            vector = np.array(value, dtype=np.float64).astype(np.float32)
    return vector
