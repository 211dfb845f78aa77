"""A repository with a tiny real graph behind ViLT's interface, made in milliseconds and without torch.

logits = mean patch @ picture weights + sum of the words' rows. The word "broken" has a row of NaN; the word "outside"
has an id that the graph's table lacks, so the run-time raises on any batch that holds it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from vlp_spec.deployment import AxisLimit, Deployment, GraphRef, OutputProof, Proof
from vlp_spec.deployment_json import dump_deployment
from vlp_spec.repository import RepositoryLayout
from vlp_spec.tasks import Task
from vlp_spec.tensors import TensorSpec

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "what", "colour", "is", "it", "red", "how", "many", "broken", "outside")
LABELS = ("yes", "no", "red", "green", "2")
PATCH_BYTES = 12


def build_graph(scale: float = 1.0) -> bytes:
    """The ONNX file; `scale` multiplies the picture's weights, which leaves a graph that runs and answers wrongly."""
    random = np.random.default_rng(7)
    table = random.normal(size=(len(WORDS) - 1, len(LABELS))).astype(np.float32)
    table[WORDS.index("broken")] = np.nan
    weights = (random.normal(size=(PATCH_BYTES, len(LABELS))) * 0.02 * scale).astype(np.float32)
    constants = {"table": table, "weights": weights, "axis1": np.array([1]), "axis2": np.array([2])}
    nodes = [
        helper.make_node("Cast", ["patches"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["pixels", "axis1"], ["pixel_sum"], keepdims=0),
        helper.make_node("Cast", ["grid"], ["grid_f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceProd", ["grid_f"], ["count"], axes=[1], keepdims=1),
        helper.make_node("Div", ["pixel_sum", "count"], ["mean"]),
        helper.make_node("MatMul", ["mean", "weights"], ["from_picture"]),
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["text_mask"], ["mask_f"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask_f", "axis2"], ["mask"]),
        helper.make_node("Mul", ["rows", "mask"], ["valid_rows"]),
        helper.make_node("ReduceSum", ["valid_rows", "axis1"], ["from_text"], keepdims=0),
        helper.make_node("Add", ["from_picture", "from_text"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("patches", TensorProto.UINT8, ["batch", "patches", PATCH_BYTES]),
            helper.make_tensor_value_info("grid", TensorProto.INT32, ["batch", 2]),
            helper.make_tensor_value_info("input_ids", TensorProto.INT32, ["batch", "text"]),
            helper.make_tensor_value_info("text_mask", TensorProto.INT32, ["batch", "text"]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def build_tokenizer() -> Tokenizer:
    """One id a word of WORDS."""
    made = Tokenizer(models.WordPiece({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(list(WORDS[:4]))
    return made


def publish(
    root: Path, name: str = "tiny", version: int = 1, *, graph: bytes | None = None, scale: float = 1.0
) -> Deployment:
    """Write a deployment.

    Args:
        graph: published with a right digest, beside the sound graph's canary.
        scale: of the sound graph; another one answers otherwise, and rightly so.
    """
    sound = build_graph(scale)
    layout = RepositoryLayout(root)
    ref = _ref(name, version, graph or sound)
    graph_file = layout.graph_file(ref, "model.onnx")
    graph_file.parent.mkdir(parents=True, exist_ok=True)
    graph_file.write_bytes(graph or sound)
    assets = layout.assets(name, version)
    assets.mkdir(parents=True, exist_ok=True)
    (assets / "tokenizer.json").write_text(build_tokenizer().to_str(), encoding="utf-8")
    (assets / "labels.json").write_text(json.dumps(LABELS), encoding="utf-8")
    np.savez(assets / "canary.npz", **_canary(sound))
    digests = {path.name: _sha256(path.read_bytes()) for path in sorted(assets.iterdir())}
    deployment = _deployment(name, version, ref, digests)
    write_manifest(root, deployment)
    return deployment


def write_manifest(root: Path, deployment: Deployment, **changes: object) -> Path:
    """Write the manifest, with changed fields where given."""
    path = RepositoryLayout(root).manifest(deployment.name, deployment.version)
    path.write_text(dump_deployment(replace(deployment, **changes)), encoding="utf-8")
    return path


def _canary(graph: bytes) -> dict[str, np.ndarray]:
    feeds = {
        "patches": np.random.default_rng(3).integers(0, 256, (2, 4, PATCH_BYTES), dtype=np.uint8),
        "grid": np.array([[2, 2], [2, 2]], dtype=np.int32),
        "input_ids": np.array([[2, 4, 5, 3], [2, 9, 10, 3]], dtype=np.int32),
        "text_mask": np.ones((2, 4), dtype=np.int32),
    }
    logits = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(["logits"], feeds)[0]
    return {**{f"input.{key}": array for key, array in feeds.items()}, "output.logits": logits}


def _ref(name: str, version: int, graph: bytes) -> GraphRef:
    return GraphRef(
        role="fusion",
        name=f"{name}-fp32",
        version=version,
        backend="onnxruntime",
        files={f"{version}/model.onnx": _sha256(graph)},
        inputs=(
            TensorSpec("patches", "uint8", ("batch", "patches", PATCH_BYTES)),
            TensorSpec("grid", "int32", ("batch", 2)),
            TensorSpec("input_ids", "int32", ("batch", "text")),
            TensorSpec("text_mask", "int32", ("batch", "text")),
        ),
        outputs=(TensorSpec("logits", "float32", ("batch", len(LABELS))),),
    )


def _deployment(name: str, version: int, ref: GraphRef, assets: dict[str, str]) -> Deployment:
    return Deployment(
        name=name,
        version=version,
        family="vilt",
        tasks=(Task.VQA,),
        precision="fp32",
        graphs=(ref,),
        image={"type": "vilt", "shorter_edge": 4, "longer_edge": 8, "size_divisor": 2, "patch_size": 2},
        text={"type": "bert", "max_length": 10},
        axes={"batch": AxisLimit(1, 8, 64), "text": AxisLimit(4, 8, 10), "patches": AxisLimit(1, 4, 8)},
        assets=assets,
        proof=Proof((OutputProof("logits", 0.0, 0.0, 1e-4, 1e-4),), samples=1, agreement=1.0, min_agreement=1.0),
        canary_tolerance=1e-4,
        source={"id": "tiny"},
        producers={},
        created="2025-01-01T00:00:00Z",
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
