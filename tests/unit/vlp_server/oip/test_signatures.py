"""What the embedded engine says of its models is what the repository that Triton is given says of them."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import model_config_pb2
from vlp_export.triton_config import GraphInterface, render_config
from vlp_export.triton_tasks import render_task_config
from vlp_server.core.hosted_models import HostedModel
from vlp_server.core.records import ModelState
from vlp_server.oip.model_documents import config_document, metadata_document
from vlp_spec.deployment import AxisLimit, GraphRef
from vlp_spec.tasks import Task
from vlp_spec.tensors import TensorSpec

GRAPH = GraphRef(
    role="fusion",
    name="graph",
    version=3,
    backend="onnxruntime",
    files={},
    inputs=(
        TensorSpec("patches", "uint8", ("batch", "patches", 12)),
        TensorSpec("lengths", "int32", ("batch",)),
        TensorSpec("halves", "float16", ("batch", 2)),
    ),
    outputs=(TensorSpec("logits", "float32", ("batch", 5)), TensorSpec("yes", "bool", ("batch",))),
)


def hosted(name: str, part: GraphRef | Task, max_rows: int) -> HostedModel:
    return HostedModel(name, 3, "m@3", part, max_rows, {"patches": AxisLimit(1, 2, 3)}, ModelState.READY, "ready")


def tensors(config: Any) -> list[Any]:
    return [*config.input, *config.output]


@pytest.mark.parametrize("part", [GRAPH, *Task], ids=str)
def test_triton_s_configuration_has_the_same_tensors(part: GraphRef | Task) -> None:
    if isinstance(part, GraphRef):
        one = hosted("graph", part, 16)
        text = render_config("graph", "onnxruntime", GraphInterface(part.inputs, part.outputs, 16))
    else:
        one, text = hosted(f"m.{part}", part, 0), render_task_config("m", part)
    theirs = text_format.Parse(text, model_config_pb2.ModelConfig())
    ours = ParseDict(config_document(one, [2, 3]), model_config_pb2.ModelConfig())
    assert tensors(ours) == tensors(theirs)
    assert (ours.name, ours.backend, ours.max_batch_size) == (theirs.name, theirs.backend, theirs.max_batch_size)
    assert ours.model_transaction_policy == theirs.model_transaction_policy
    # How many threads a task has is a matter of Triton's own process.
    shared = {name: value for name, value in theirs.parameters.items() if name != "threads"}
    assert dict(ours.parameters) == shared
    assert list(ours.version_policy.specific.versions) == [2, 3]


def test_metadata_has_the_batch_and_rows_of_one_number() -> None:
    document = metadata_document(hosted("graph", GRAPH, 16), [3])
    assert (document["name"], document["versions"], document["platform"]) == ("graph", ["3"], "onnxruntime_onnx")
    assert document["inputs"] == [
        {"name": "patches", "datatype": "UINT8", "shape": [-1, -1, 12]},
        {"name": "lengths", "datatype": "INT32", "shape": [-1, 1]},
        {"name": "halves", "datatype": "FP16", "shape": [-1, 2]},
    ]
    assert document["outputs"] == [
        {"name": "logits", "datatype": "FP32", "shape": [-1, 5]},
        {"name": "yes", "datatype": "BOOL", "shape": [-1, 1]},
    ]
