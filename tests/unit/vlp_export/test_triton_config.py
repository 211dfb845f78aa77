from __future__ import annotations

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from vlp_export.triton_config import BatchingConfig, GraphInterface, check_same_interface, render_config
from vlp_spec.errors import ArtifactError
from vlp_spec.tensors import TensorSpec

INTERFACE = GraphInterface(
    inputs=(
        TensorSpec("patches", "uint8", ("batch", "patches", 3072)),
        TensorSpec("grid", "int32", ("batch", 2)),
        TensorSpec("input_ids", "int32", ("batch", "text")),
    ),
    outputs=(TensorSpec("logits", "float32", ("batch", 3129)),),
    max_batch_size=64,
)


@pytest.mark.parametrize(
    ("backend", "file", "kind"),
    [("onnxruntime", "model.onnx", "KIND_AUTO"), ("tensorrt", "model.plan", "KIND_GPU")],
)
def test_triton_reads_the_configuration(backend: str, file: str, kind: str) -> None:
    config = text_format.Parse(render_config("vilt-fp32", backend, INTERFACE), model_config_pb2.ModelConfig())
    assert (config.name, config.backend, config.default_model_filename) == ("vilt-fp32", backend, file)
    assert config.max_batch_size == 64
    assert [(i.name, list(i.dims)) for i in config.input] == [
        ("patches", [-1, 3072]),
        ("grid", [2]),
        ("input_ids", [-1]),
    ]
    assert config.input[0].data_type == model_config_pb2.TYPE_UINT8
    assert config.input[1].data_type == model_config_pb2.TYPE_INT32
    assert [(o.name, o.data_type, list(o.dims)) for o in config.output] == [
        ("logits", model_config_pb2.TYPE_FP32, [3129])
    ]
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.Kind.Value(kind)


def test_one_number_an_item_is_a_row_of_one() -> None:
    interface = GraphInterface((TensorSpec("past_lengths", "int32", ("batch",)),), INTERFACE.outputs, 8)
    config = text_format.Parse(render_config("g", "onnxruntime", interface), model_config_pb2.ModelConfig())
    (lengths,) = config.input
    assert (list(lengths.dims), lengths.HasField("reshape"), list(lengths.reshape.shape)) == ([1], True, [])
    assert not config.output[0].HasField("reshape")


def test_the_queue_is_bounded() -> None:
    batching = BatchingConfig(max_queue_size=7, queue_timeout_ms=1500, max_queue_delay_us=3000, instances=2)
    text = render_config("g", "onnxruntime", INTERFACE, batching)
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    policy = config.dynamic_batching.default_queue_policy
    assert policy.max_queue_size == 7
    assert policy.default_timeout_microseconds == 1_500_000
    assert policy.timeout_action == model_config_pb2.ModelQueuePolicy.TimeoutAction.Value("REJECT")
    assert policy.allow_timeout_override
    assert config.dynamic_batching.max_queue_delay_microseconds == 3000
    assert config.instance_group[0].count == 2


def test_names_and_backends_are_checked() -> None:
    with pytest.raises(ArtifactError, match="backend 'openvino'"):
        render_config("g", "openvino", INTERFACE)
    with pytest.raises(ArtifactError, match="name '../g'"):
        render_config("../g", "tensorrt", INTERFACE)


def test_versions_share_a_configuration_only_with_the_same_interface() -> None:
    text = render_config("g", "onnxruntime", INTERFACE, BatchingConfig(instances=5))
    check_same_interface(text, INTERFACE, "g")
    other = GraphInterface(INTERFACE.inputs, (TensorSpec("logits", "float32", ("batch", 3130)),), 64)
    with pytest.raises(ArtifactError, match="other inputs or outputs"):
        check_same_interface(text, other, "g")
