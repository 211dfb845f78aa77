"""Float32 numbers in base64, little-endian: how regions stand in JSON and in tsv files."""

from __future__ import annotations

import base64
import binascii

import numpy as np
from vlp_spec.errors import TooLargeError

from vlp_pipeline.regions import FIELD, invalid_regions


def decode_floats(text: str | bytes, name: str, max_bytes: int) -> np.ndarray:
    """Decode.

    Args:
        text: base64 with its padding, and nothing else.
        name: for messages.
        max_bytes: of the numbers.

    Returns:
        (n,) float32, read-only.

    Raises:
        InvalidArgumentError: not base64, or no whole number of float32; of field "regions".
        TooLargeError: over `max_bytes`.
    """
    if len(text) > -(-max_bytes // 3) * 4:
        raise TooLargeError(f"{FIELD}: {name}: {len(text)} characters, at most {max_bytes} bytes are accepted")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_regions(f"{name}: not base64 of little-endian float32", detail=str(error)) from None
    if len(data) % 4:
        raise invalid_regions(f"{name}: {len(data)} bytes of base64 are no whole number of float32")
    return np.frombuffer(data, dtype="<f4")


def split_rows(numbers: np.ndarray, rows: int, name: str) -> np.ndarray:
    """(rows, n / rows).

    Raises:
        InvalidArgumentError: they cannot be shared out among so many regions; of field "regions".
    """
    if rows < 1 or len(numbers) == 0 or len(numbers) % rows:
        raise invalid_regions(f"{name}: {len(numbers)} numbers for {rows} regions")
    return numbers.reshape(rows, -1)
