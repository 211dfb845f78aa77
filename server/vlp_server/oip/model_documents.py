"""What the protocol tells of a model: its metadata, its configuration as Triton words it, its line in the index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vlp_spec.deployment import GraphRef
from vlp_spec.tasks import Task
from vlp_spec.tensors import Dim

from vlp_server.core.hosted_models import HostedModel
from vlp_server.core.records import ModelState
from vlp_server.oip.datatypes import config_type
from vlp_server.oip.signatures import TensorSignature, signature_of

_PLATFORMS = {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}
_FILES = {"onnxruntime": "model.onnx", "tensorrt": "model.plan", "python": "model.py"}
_STATES = {ModelState.READY: "READY", ModelState.LOADING: "LOADING", ModelState.FAILED: "UNAVAILABLE"}


def metadata_document(hosted: HostedModel, versions: Sequence[int]) -> dict[str, Any]:
    """Model metadata.

    Args:
        versions: all that are served.
    """
    signature, backend = signature_of(hosted), _backend(hosted)
    return {
        "name": hosted.name,
        "versions": [str(version) for version in versions],
        "platform": _PLATFORMS.get(backend, backend),
        "inputs": [_tensor(tensor) for tensor in signature.inputs],
        "outputs": [_tensor(tensor) for tensor in signature.outputs],
    }


def config_document(hosted: HostedModel, versions: Sequence[int]) -> dict[str, Any]:
    """The configuration, with the fields of Triton's ModelConfig that say something here."""
    signature, backend = signature_of(hosted), _backend(hosted)
    document: dict[str, Any] = {
        "name": hosted.name,
        "platform": _PLATFORMS.get(backend, ""),
        "backend": backend,
        "version_policy": {"specific": {"versions": list(versions)}},
        "max_batch_size": hosted.max_rows,
        "input": [
            {**_config_tensor(tensor, hosted), "format": "FORMAT_NONE", "optional": tensor.optional}
            for tensor in signature.inputs
        ],
        "output": [_config_tensor(tensor, hosted) for tensor in signature.outputs],
        "instance_group": [{"name": hosted.name, "kind": "KIND_AUTO", "count": 1}],
        "default_model_filename": _FILES.get(backend, ""),
    }
    if isinstance(hosted.part, GraphRef):
        document["dynamic_batching"] = {"priority_levels": 2, "default_priority_level": 1}
    else:
        document["parameters"] = {
            "deployment": {"string_value": hosted.deployment.partition("@")[0]},
            "task": {"string_value": str(hosted.part)},
        }
    if signature.decoupled:
        document["model_transaction_policy"] = {"decoupled": True}
    return document


def index_document(hosted: HostedModel) -> dict[str, Any]:
    """A line of the repository's index."""
    state = _STATES[hosted.state]
    return {
        "name": hosted.name,
        "version": str(hosted.version),
        "state": state,
        "reason": "" if hosted.state is ModelState.READY else hosted.reason,
    }


def _backend(hosted: HostedModel) -> str:
    return "python" if isinstance(hosted.part, Task) else hosted.part.backend


def _tensor(tensor: TensorSignature) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.sizes}


def _config_tensor(tensor: TensorSignature, hosted: HostedModel) -> dict[str, Any]:
    """Without the batch, which Triton's configuration leaves out; one number an item has a shape of its own there."""
    dims = tensor.sizes[1:] if hosted.max_rows else tensor.sizes
    described = {"name": tensor.name, "data_type": config_type(tensor.datatype), "dims": dims}
    return {**described, "reshape": {"shape": []}} if _is_scalar(hosted, tensor.name) else described


def _is_scalar(hosted: HostedModel, name: str) -> bool:
    if not isinstance(hosted.part, GraphRef):
        return False
    shapes: dict[str, tuple[Dim, ...]] = {spec.name: spec.shape for spec in (*hosted.part.inputs, *hosted.part.outputs)}
    return len(shapes[name]) == 1
