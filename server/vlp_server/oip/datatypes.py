"""Datatypes of the Open Inference Protocol, and what they are in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

BYTES = "BYTES"
"""Texts or files: each is its length as uint32, little end first, and its bytes."""
NUMPY: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
}
"""Of tensors that graphs take and give; on the wire, too."""
DATATYPES: Mapping[str, str] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
}
"""Of the dtypes of vlp_spec.tensors."""


def config_type(datatype: str) -> str:
    """What a model's configuration calls a datatype."""
    return "TYPE_STRING" if datatype == BYTES else f"TYPE_{datatype}"
