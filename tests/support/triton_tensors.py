"""Inputs of tritonclient, of its HTTP and of its gRPC kind, for graphs and tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from vlp_zoo import zoo_path

SAMPLE = Path(zoo_path()) / "samples" / "scene-1.jpg"
_DATATYPES = {"uint8": "UINT8", "int32": "INT32", "float32": "FP32"}


def strings(client: Any, name: str, values: Sequence[bytes]) -> Any:
    """A BYTES input.

    Args:
        client: tritonclient.http or tritonclient.grpc.
    """
    tensor = client.InferInput(name, [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array(list(values), dtype=np.object_))
    return tensor


def numbers(client: Any, arrays: dict[str, NDArray[Any]], **options: Any) -> list[Any]:
    """Inputs of a graph."""
    tensors = []
    for name, array in arrays.items():
        tensor = client.InferInput(name, list(array.shape), _DATATYPES[array.dtype.name])
        tensor.set_data_from_numpy(array, **options)
        tensors.append(tensor)
    return tensors


def canary(model: str, graph_inputs: Sequence[str]) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Inputs and outputs that a shipped model was published with."""
    with np.load(zoo_path() / "repository" / "deployments" / model / "1" / "canary.npz") as arrays:
        inputs = {name: arrays[f"input.{name}"] for name in graph_inputs}
        outputs = {name.removeprefix("output."): arrays[name] for name in arrays.files if name.startswith("output.")}
    return inputs, outputs
