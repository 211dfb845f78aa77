"""A tiny ViLT all the way: checkpoint, graph, proof, repository."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from vlp_cli.export import export as export_command
from vlp_export import exporter, tensorrt_runner
from vlp_export.exporter import export_checkpoint
from vlp_export.int8 import quantize_rows
from vlp_export.onnx_graph import export_graph
from vlp_export.operators import check_operators
from vlp_export.options import ExportOptions
from vlp_export.plans import plan_export
from vlp_export.progress import Stage
from vlp_models.checkpoints import load_checkpoint, save_checkpoint
from vlp_models.data.tokenizer_building import build_tokenizer
from vlp_models.evaluation.onnx_runner import Runner, onnx_runner
from vlp_models.families.vilt import ViltModel
from vlp_models.families.vilt_config import ViltConfig
from vlp_server.core.deployments import verify_files
from vlp_spec.deployment import Deployment
from vlp_spec.deployment_json import parse_deployment
from vlp_spec.errors import ArtifactError, ProofError
from vlp_spec.found_deployment import find_deployment
from vlp_spec.repository import CANARY_ASSET, RepositoryLayout
from vlp_spec.tasks import Task

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))  # tests are imported one by one, not as packages
from tensorrt_standin import Machine, make_tensorrt

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
    # Fresh weights give outputs so flat that mistakes would hide, and biases that are all alike.
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5 if parameter.ndim == 1 else 1.5 * config.hidden_size**-0.5)
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


def feeds_of(grids: Sequence[tuple[int, int]], lengths: Sequence[int], seed: int = 0) -> dict[str, np.ndarray]:
    """A padded batch; the padding of pictures is noise, which must not matter."""
    random = np.random.default_rng(seed)
    slots, text = max(rows * columns for rows, columns in grids), max(lengths)
    mask = np.array([[1] * length + [0] * (text - length) for length in lengths], np.int32)
    return {
        "patches": random.integers(0, 256, (len(grids), slots, 3072), dtype=np.uint8),
        "grid": np.array(grids, np.int32),
        "input_ids": random.integers(5, 20, (len(grids), text)).astype(np.int32) * mask,
        "text_mask": mask,
    }


def row_alone(feeds: dict[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
    patches, words = int(feeds["grid"][row].prod()), int(feeds["text_mask"][row].sum())
    cut = {"patches": patches, "grid": 2, "input_ids": words, "text_mask": words}
    return {name: feeds[name][row : row + 1, :size] for name, size in cut.items()}


def runner_of(exported: Exported) -> Runner:
    graph = RepositoryLayout(exported.repository).graph_file(exported.made.graph("fusion"), "model.onnx")
    return onnx_runner(graph, threads=1)


SIZES = [
    ([(1, 1)], [4]),
    ([(1, 5)], [12]),
    ([(5, 1)], [4]),
    ([(3, 5)], [7]),
    ([(3, 3), (3, 3)], [5, 5]),
    ([(1, 1), (2, 3), (5, 1), (3, 5), (1, 2)], [4, 12, 6, 5, 11]),
]


@pytest.mark.parametrize(("grids", "lengths"), SIZES)
def test_the_graph_computes_what_the_checkpoint_does_at_every_size(
    exported: Exported, checkpoint: Path, grids: list[tuple[int, int]], lengths: list[int]
) -> None:
    feeds = feeds_of(grids, lengths)
    model = load_checkpoint(checkpoint).model
    with torch.no_grad():
        expected = model.vqa_logits(*(torch.from_numpy(feeds[name]) for name in feeds)).numpy()
    got = runner_of(exported)(feeds)["logits"]
    assert got.shape == (len(grids), len(LABELS))
    np.testing.assert_allclose(got, expected, atol=1e-6 if exported.made.precision == "fp32" else 0.1)


def test_one_pictures_answer_does_not_depend_on_its_neighbours(exported: Exported) -> None:
    run = runner_of(exported)
    feeds = feeds_of([(1, 1), (2, 3), (5, 1)], [4, 7, 5])
    together = run(feeds)["logits"]
    for row in range(3):
        np.testing.assert_allclose(run(row_alone(feeds, row))["logits"][0], together[row], atol=1e-5)


def test_the_canary_holds_the_checkpoints_own_outputs(exported: Exported, checkpoint: Path) -> None:
    made = exported.made
    with np.load(RepositoryLayout(exported.repository).assets(made.name, 1) / CANARY_ASSET) as file:
        arrays = dict(file)
    names = [spec.name for spec in made.graph("fusion").inputs]
    assert set(arrays) == {f"input.{name}" for name in names} | {"output.logits"}
    with torch.no_grad():
        expected = load_checkpoint(checkpoint).model.vqa_logits(
            *(torch.from_numpy(arrays[f"input.{name}"]) for name in names)
        )
    np.testing.assert_allclose(arrays["output.logits"], expected.numpy(), atol=1e-6)
    got = runner_of(exported)({name: arrays[f"input.{name}"] for name in names})["logits"]
    assert np.abs(got - arrays["output.logits"]).max() <= made.canary_tolerance


def test_the_canary_notices_other_weights_that_still_run(exported: Exported, tmp_path: Path) -> None:
    made, layout = exported.made, RepositoryLayout(exported.repository)
    model = onnx.load(layout.graph_file(made.graph("fusion"), "model.onnx"))
    matrix = max(model.graph.initializer, key=lambda item: int(np.prod(item.dims)))
    matrix.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(matrix)[::-1].copy(), matrix.name))
    onnx.save(model, str(tmp_path / "other.onnx"))
    with np.load(layout.assets(made.name, 1) / CANARY_ASSET) as arrays:
        feeds = {spec.name: arrays[f"input.{spec.name}"] for spec in made.graph("fusion").inputs}
        expected = arrays["output.logits"]
    got = onnx_runner(tmp_path / "other.onnx")(feeds)["logits"]
    assert np.abs(got - expected).max() > made.canary_tolerance


def test_weights_stored_as_float16_make_a_smaller_graph(exported: Exported, checkpoint: Path) -> None:
    path = RepositoryLayout(exported.repository).graph_file(exported.made.graph("fusion"), "model.onnx")
    parameters = sum(item.numel() for item in load_checkpoint(checkpoint).model.parameters())
    assert path.stat().st_size < parameters * 2 + 100_000


def test_the_server_takes_the_deployment(exported: Exported) -> None:
    found = find_deployment(exported.repository, exported.made.name)
    verify_files(found)
    assert found.deployment == exported.made


@pytest.fixture(scope="module")
def graph(checkpoint: Path) -> onnx.ModelProto:
    """The checkpoint's float32 graph, made once for the tests that spoil it."""
    plan = plan_export(load_checkpoint(checkpoint), Task.VQA)
    return export_graph(plan.graphs[0], plan.axes)


@pytest.fixture
def spoil(graph: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make the exporter's graph another one: noise is added to the weights whose name ends so."""

    def exporting(ending: str) -> None:
        copy = onnx.ModelProto()
        copy.CopyFrom(graph)
        chosen = [item for item in copy.graph.initializer if ending and item.name.endswith(ending)]
        assert chosen or not ending
        for item in chosen:
            values = onnx.numpy_helper.to_array(item)
            noise = np.random.default_rng(0).standard_normal(values.shape).astype(values.dtype)
            item.CopyFrom(onnx.numpy_helper.from_array(values + noise, item.name))
        monkeypatch.setattr(exporter, "export_graph", lambda plan, axes: copy)

    return exporting


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("ending", ["word_embeddings.weight", "blocks.1.mlp.fc1.bias", "vqa_classifier.3.bias"])
def test_a_graph_that_is_not_its_checkpoint_is_not_published(
    checkpoint: Path, tmp_path: Path, spoil: Callable[[str], None], ending: str, precision: str
) -> None:
    spoil(ending)
    with pytest.raises(ProofError, match="not published"):
        export_checkpoint(checkpoint, repository=tmp_path, options=ExportOptions(precision=precision, proof_samples=6))
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".json", ".onnx", ".pbtxt")]
    assert list((tmp_path / ".staging").iterdir()) == []


def test_a_quantised_graph_that_answers_otherwise_is_not_published(
    checkpoint: Path, tmp_path: Path, spoil: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil("")

    def quantize_badly(model: onnx.ModelProto, table_inputs: frozenset[str]) -> int:
        count = quantize_rows(model, table_inputs)
        for item in model.graph.initializer:
            if item.name.endswith(".scale"):
                values = onnx.numpy_helper.to_array(item)
                item.CopyFrom(onnx.numpy_helper.from_array(values[::-1] * np.float32(-3), item.name))
        return count

    monkeypatch.setattr(exporter, "quantize_rows", quantize_badly)
    with pytest.raises(ProofError, match=r"graph tiny-int8 \(int8\) is not its checkpoint"):
        export_checkpoint(checkpoint, repository=tmp_path, options=ExportOptions(precision="int8", proof_samples=6))
    assert not list(tmp_path.rglob("*.onnx"))


def test_a_graph_with_foreign_operators_is_not_published(
    checkpoint: Path, tmp_path: Path, spoil: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil("")
    monkeypatch.setattr(exporter, "check_operators", lambda model, *rest: check_operators(model, {"MatMul"}))
    with pytest.raises(ArtifactError, match="operators that not every backend reads"):
        export_checkpoint(checkpoint, repository=tmp_path, options=ExportOptions(proof_samples=2))
    assert not list(tmp_path.rglob("*.onnx"))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """TensorRT "installed", on a GPU that the CPU plays."""
    machine = Machine()
    stream = SimpleNamespace(wait_stream=lambda other: None, synchronize=lambda: None, cuda_stream=1)
    monkeypatch.setitem(sys.modules, "tensorrt", make_tensorrt(machine))
    monkeypatch.setattr(tensorrt_runner, "_cuda", lambda: torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    return machine


def test_an_engine_is_proved_by_running_it(
    checkpoint: Path, tmp_path: Path, spoil: Callable[[str], None], machine: Machine
) -> None:
    spoil("")
    options = ExportOptions(format="tensorrt", precision="fp16", proof_samples=4)
    made = export_checkpoint(checkpoint, repository=tmp_path, options=options)
    assert (made.name, made.graphs[0].name, made.graphs[0].backend) == (
        "tiny-fp16-tensorrt",
        "tiny-fp16-tensorrt",
        "tensorrt",
    )
    assert list(made.graphs[0].files) == ["1/model.plan"]
    shapes = {args[0]: args[1:] for name, args in machine.calls if name == "IOptimizationProfile.set_shape"}
    assert shapes["input_ids"] == ((1, 4), (8, 12), (64, 12))
    assert 'backend: "tensorrt"' in (tmp_path / "model_repository/tiny-fp16-tensorrt/config.pbtxt").read_text()

    machine.output_offset = 1e3
    with pytest.raises(ProofError, match="not published"):
        export_checkpoint(checkpoint, repository=tmp_path, options=options)
    assert not (tmp_path / "deployments/tiny-fp16-tensorrt/2.json").exists()


def test_tensorrt_is_asked_for_by_name_where_it_is_missing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    options = ExportOptions(format="tensorrt", precision="fp16", proof_samples=2)
    with pytest.raises(ArtifactError, match="TensorRT is not installed here"):
        export_checkpoint(checkpoint, repository=tmp_path, options=options)
    assert not list(tmp_path.rglob("*.plan"))


def test_the_command_shows_stages_and_figures(checkpoint: Path, tmp_path: Path, spoil: Callable[[str], None]) -> None:
    spoil("")
    data = tmp_path / "data.jsonl"
    Image.new("RGB", (64, 48), "red").save(tmp_path / "red.png")
    data.write_text('{"image": "red.png", "questions": [{"question": "what color is the cat"}]}\n')
    arguments = [str(checkpoint), "--repository", str(tmp_path / "r"), "--name", "own", "--proof-data", str(data)]
    result = CliRunner().invoke(export_command, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "own@1"
    assert "same answer on 100.00% of 1 samples" in result.stdout
    assert [line.removesuffix("...") for line in result.stderr.splitlines()] == [
        Stage.LOAD,
        Stage.REFERENCE,
        Stage.GRAPH,
        Stage.PROOF,
        Stage.PUBLISH,
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "precision 'int4'"),
        ({"format": "tflite"}, "format 'tflite'"),
        ({"proof_samples": 0}, "proof samples"),
        ({"min_agreement": 1.5}, "least agreement"),
        ({"format": "tensorrt", "precision": "int8"}, "precision 'int8'"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        ExportOptions(**options)  # type: ignore[arg-type]
