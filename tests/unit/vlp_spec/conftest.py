import json
from typing import Any

import pytest
from vlp_spec.deployment import AxisLimit, Deployment, GraphRef, OutputProof, Proof
from vlp_spec.deployment_json import dump_deployment
from vlp_spec.tasks import Task
from vlp_spec.tensors import TensorSpec


@pytest.fixture
def graph() -> GraphRef:
    return GraphRef(
        role="fusion",
        name="tiny-fp32",
        version=3,
        backend="onnxruntime",
        files={"3/model.onnx": "ab" * 32},
        inputs=(TensorSpec("input_ids", "int32", ("batch", "text")),),
        outputs=(TensorSpec("logits", "float32", ("batch", 5)),),
    )


@pytest.fixture
def proof() -> Proof:
    return Proof((OutputProof("logits", 1e-5, 2e-6, 1e-4, 1e-5),), samples=16, agreement=1.0, min_agreement=0.99)


@pytest.fixture
def deployment(graph: GraphRef, proof: Proof) -> Deployment:
    return Deployment(
        name="tiny-vilt",
        version=3,
        family="vilt",
        tasks=(Task.VQA,),
        precision="int8",
        graphs=(graph,),
        image={"type": "vilt", "shorter_edge": 8, "nested": {"list": [1, "two", None]}},
        text={"type": "bert", "max_length": 10},
        axes={"text": AxisLimit(4, 8, 10)},
        assets={"labels.json": "cd" * 32},
        proof=proof,
        canary_tolerance=1e-3,
        source={"id": "somewhere/tiny", "sha256": "ef" * 32},
        producers={"torch": "2.0"},
        created="2025-01-01T00:00:00Z",
        notes={"licence": "Apache-2.0"},
    )


@pytest.fixture
def raw(deployment: Deployment) -> dict[str, Any]:
    """The manifest as plain JSON, to be spoiled."""
    plain: dict[str, Any] = json.loads(dump_deployment(deployment))
    return plain
