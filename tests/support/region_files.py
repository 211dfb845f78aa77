"""Regions for tests, good and bad, as callers send them."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np

FEATURE_SIZE = 8
BOXES = np.array([[0.1, 0.2, 0.5, 0.4], [0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.75, 1.0]], dtype=np.float32)
FEATURES = (np.arange(3 * FEATURE_SIZE, dtype=np.float32) / 7).reshape(3, FEATURE_SIZE)
SCORES = np.array([0.9, 0.5, 0.1], dtype=np.float32)
ARRAYS: dict[str, np.ndarray] = {"boxes": BOXES, "features": FEATURES, "scores": SCORES}


def npz(arrays: dict[str, Any] | None = None, **changed: Any) -> bytes:
    """A file of `ARRAYS`, or of others; an array that is changed to None is left out."""
    values = {**(ARRAYS if arrays is None else arrays), **changed}
    target = io.BytesIO()
    np.savez_compressed(target, **{name: array for name, array in values.items() if array is not None})
    return target.getvalue()


def as_json(**changed: Any) -> dict[str, Any]:
    """`ARRAYS` as a JSON object, the features in base64; a key that is changed to None is left out."""
    packed = base64.b64encode(FEATURES.astype("<f4").tobytes()).decode()
    value = {"boxes": BOXES.tolist(), "features": packed, "scores": SCORES.tolist(), **changed}
    return {name: part for name, part in value.items() if part is not None}


def many(count: int) -> dict[str, np.ndarray]:
    """Arrays of so many regions."""
    return {"boxes": np.tile(BOXES[:1], (count, 1)), "features": np.zeros((count, FEATURE_SIZE), dtype=np.float32)}


def bomb() -> bytes:
    """Some kilobytes that would become 36 MB."""
    return npz(features=np.zeros((3, 3_000_000), dtype=np.float32))
