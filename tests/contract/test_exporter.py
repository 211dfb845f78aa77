"""A tiny ViLT all the way: checkpoint, graph, proof, repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from vlp_export import exporter
from vlp_export.exporter import ExportOptions, export_checkpoint
from vlp_export.session import onnx_runner
from vlp_models.checkpoints import save_checkpoint
from vlp_models.data.tokenizer_building import build_tokenizer
from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig
from vlp_spec.deployment import Deployment
from vlp_spec.deployment_json import parse_deployment
from vlp_spec.errors import ArtifactError, ProofError
from vlp_spec.repository import RepositoryLayout

LABELS = ("red", "blue", "two", "yes", "no")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = ["what color is the cat", "how many dogs are there", "is it above the house"]
    tokenizer = build_tokenizer(texts, vocab_size=100, lowercase=True)
    config = ViltConfig(
        hidden_size=16,
        num_layers=2,
        num_heads=2,
        patch_size=32,
        image_size=96,
        vocab_size=tokenizer.get_vocab_size(),
        max_text_len=12,
        num_labels=len(LABELS),
        heads=("vqa",),
        dropout=0.0,
    )
    torch.manual_seed(0)
    model = ViltModel(config).eval()
    model.init_weights()
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    image = {
        "type": "vilt",
        "shorter_edge": 96,
        "longer_edge": 160,
        "size_divisor": 32,
        "patch_size": 32,
        "resample": "bicubic",
    }
    save_checkpoint(folder, model, tokenizer=tokenizer.to_str(), labels=LABELS, image=image, storage="float16")
    return folder


@dataclass(frozen=True)
class Exported:
    made: Deployment
    repository: Path
    stages: list[str]


@pytest.fixture(scope="module", params=["fp32", "int8"])
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Exported:
    stages: list[str] = []
    repository = tmp_path_factory.mktemp("repository")
    options = ExportOptions(precision=request.param, proof_samples=9)
    made = export_checkpoint(checkpoint, repository=repository, options=options, progress=stages.append)
    return Exported(made, repository, stages)


def test_a_checkpoint_becomes_a_proved_deployment(exported: Exported) -> None:
    made = exported.made
    assert made.name == ("tiny" if made.precision == "fp32" else "tiny-int8")
    assert made.proof.holds()
    assert made.proof.samples == 9
    assert exported.stages[0] == "load checkpoint"
    assert exported.stages[-1] == "publish"
    layout = RepositoryLayout(exported.repository)
    assert parse_deployment(layout.manifest(made.name, 1).read_text()) == made
    model = onnx.load(layout.graph_file(made.graph("fusion"), "model.onnx"))
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}


def test_one_pictures_answer_does_not_depend_on_its_neighbours(exported: Exported) -> None:
    graph = RepositoryLayout(exported.repository).graph_file(exported.made.graph("fusion"), "model.onnx")
    run = onnx_runner(graph, threads=1)
    random = np.random.default_rng(0)
    feeds = {
        "patches": random.integers(0, 256, (3, 6, 3072), dtype=np.uint8),
        "grid": np.array([[1, 1], [2, 3], [6, 1]], np.int32),
        "input_ids": random.integers(5, 20, (3, 7)).astype(np.int32),
        "text_mask": np.array([[1] * 3 + [0] * 4, [1] * 7, [1] * 5 + [0] * 2], np.int32),
    }
    together = run(feeds)["logits"]
    for row, (patches, words) in enumerate([(1, 3), (6, 7), (6, 5)]):
        alone = {
            "patches": feeds["patches"][row : row + 1, :patches],
            "grid": feeds["grid"][row : row + 1],
            "input_ids": feeds["input_ids"][row : row + 1, :words],
            "text_mask": feeds["text_mask"][row : row + 1, :words],
        }
        np.testing.assert_allclose(run(alone)["logits"][0], together[row], atol=1e-5)


def test_a_graph_that_is_not_its_checkpoint_is_not_published(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(model: onnx.ModelProto) -> int:
        weight = next(item for item in model.graph.initializer if len(item.dims) == 2 and len(LABELS) in item.dims)
        changed = onnx.numpy_helper.to_array(weight) * np.float32(1.5)
        weight.CopyFrom(onnx.numpy_helper.from_array(changed, weight.name))
        return 0

    monkeypatch.setattr(exporter, "store_as_float16", spoil)
    with pytest.raises(ProofError, match="not published"):
        export_checkpoint(checkpoint, repository=tmp_path, options=ExportOptions(proof_samples=4))
    assert not list(tmp_path.rglob("*.json"))
    assert not list(tmp_path.rglob("*.onnx"))


def test_tensorrt_is_asked_for_by_name_where_it_is_missing(checkpoint: Path, tmp_path: Path) -> None:
    options = ExportOptions(format="tensorrt", precision="fp16", proof_samples=2)
    with pytest.raises(ArtifactError, match="TensorRT is not installed here"):
        export_checkpoint(checkpoint, repository=tmp_path, options=options)
    assert not list(tmp_path.rglob("*.plan"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "precision 'int4'"),
        ({"format": "tflite"}, "format 'tflite'"),
        ({"proof_samples": 0}, "proof samples"),
        ({"format": "tensorrt", "precision": "int8"}, "precision 'int8'"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        ExportOptions(**options)  # type: ignore[arg-type]
