"""Tiny BLIPs all the way: checkpoint, graphs, proof, repository; and the published graphs beside the checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from tiny_blip import POSITIONS, SHARED, export_tiny_blip, shared_tiny_blip, tiny_blip
from tritonclient.grpc import model_config_pb2
from vlp_export.blip_graphs import DecoderGraph
from vlp_export.blip_parts import BlipParts
from vlp_export.int8 import quantize_rows
from vlp_export.module_runs import run_module
from vlp_export.operators import INT8_OPERATORS, check_operators
from vlp_export.plan import Arrays, GraphPlan
from vlp_models.evaluation.onnx_runner import Runner, onnx_runner
from vlp_spec.deployment import Deployment
from vlp_spec.found_deployment import find_deployment
from vlp_spec.repository import CANARY_ASSET, RepositoryLayout

KINDS = ("caption", "vqa", "match", "reasoning")
SAMPLES = 5


@pytest.fixture(scope="module")
def repository() -> Path:
    return shared_tiny_blip(*KINDS) / "repository"


def made(repository: Path, kind: str) -> Deployment:
    return find_deployment(repository, f"tiny-{kind}").deployment


def graph_file(repository: Path, kind: str, role: str) -> Path:
    return RepositoryLayout(repository).graph_file(made(repository, kind).graph(role), "model.onnx")


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_becomes_a_proved_deployment(repository: Path, kind: str) -> None:
    deployment = made(repository, kind)
    assert deployment.proof.holds()
    assert (deployment.proof.samples, deployment.proof.agreement) == (SAMPLES, 1.0)
    outputs = {spec.name for graph in deployment.graphs for spec in graph.outputs}
    assert {proof.output for proof in deployment.proof.outputs} == outputs
    assert max(proof.max_abs_diff for proof in deployment.proof.outputs) < 1e-5
    assert max(proof.max_batch_diff for proof in deployment.proof.outputs) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_every_graph_is_for_any_backend(repository: Path, kind: str) -> None:
    for ref in made(repository, kind).graphs:
        model = onnx.load(graph_file(repository, kind, ref.role))
        check_operators(model)
        for value, spec in zip([*model.graph.input, *model.graph.output], [*ref.inputs, *ref.outputs], strict=True):
            shape = tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)
            assert (value.name, shape) == (spec.name, spec.shape)
        written = (repository / "model_repository" / ref.name / "config.pbtxt").read_text()
        config = text_format.Parse(written, model_config_pb2.ModelConfig())
        assert [item.name for item in config.input] == [spec.name for spec in ref.inputs]
        assert list(config.output[0].dims) == [-1 if isinstance(d, str) else d for d in ref.outputs[0].shape[1:]]


@pytest.mark.parametrize("kind", KINDS)
def test_the_canary_holds_for_every_graph(repository: Path, kind: str) -> None:
    deployment = made(repository, kind)
    with np.load(RepositoryLayout(repository).assets(deployment.name, 1) / CANARY_ASSET) as file:
        arrays = dict(file)
    for ref in deployment.graphs:
        got = onnx_runner(graph_file(repository, kind, ref.role), threads=1)(
            {spec.name: arrays[f"input.{spec.name}"] for spec in ref.inputs}
        )
        for name, array in got.items():
            assert np.abs(array - arrays[f"output.{name}"]).max() <= deployment.canary_tolerance


def feeds_of(graph: GraphPlan, sizes: dict[str, int], lengths: list[int]) -> Arrays:
    """Random rows; `lengths` are those of the past, and of what is looked at where that has a mask."""
    rng = np.random.default_rng(sum(sizes.values()))
    feeds: Arrays = {}
    for spec in graph.inputs:
        shape = [sizes[size] if isinstance(size, str) else size for size in spec.shape]
        feeds[spec.name] = rng.normal(size=shape).astype(np.float32)
    words = graph.outputs[0].shape[-1]
    assert isinstance(words, int)
    feeds["input_ids"] = rng.integers(0, words, feeds["input_ids"].shape).astype(np.int32)
    feeds["past_lengths"] = np.array(lengths, np.int32)
    if "at_mask" in feeds:
        real = np.maximum(1, np.minimum(lengths, sizes["text"]))
        feeds["at_mask"] = (np.arange(sizes["text"]) < real[:, None]).astype(np.int32)
    return feeds


DECODING = [
    ({"batch": 1, "beams": 1, "tokens": 4, "past": 1, "text": 6}, [0]),  # a beginning: one position that is masked
    ({"batch": 2, "beams": 1, "tokens": 7, "past": 1, "text": 4}, [0, 0]),
    ({"batch": 1, "beams": 1, "tokens": 1, "past": 5, "text": 6}, [5]),  # steps
    ({"batch": 1, "beams": 3, "tokens": 1, "past": 16, "text": 12}, [9]),
    ({"batch": 4, "beams": 3, "tokens": 1, "past": 20, "text": 9}, [20, 1, 0, 7]),
    ({"batch": 1, "beams": 20, "tokens": 5, "past": 1, "text": 5}, [0]),  # given answers side by side
    ({"batch": 3, "beams": 2, "tokens": 6, "past": 11, "text": 8}, [0, 11, 4]),
    ({"batch": 1, "beams": 1, "tokens": POSITIONS, "past": 1, "text": 4}, [0]),
]


@pytest.fixture(scope="module", params=["caption", "vqa"])
def decoder(repository: Path, request: pytest.FixtureRequest) -> tuple[GraphPlan, Runner]:
    parts = BlipParts(tiny_blip(request.param, **SHARED))
    path = graph_file(repository, request.param, "decoder")
    return parts.decoder(masked=request.param == "vqa"), onnx_runner(path, threads=1)


@pytest.mark.parametrize(("sizes", "lengths"), DECODING)
def test_a_decoder_computes_what_the_checkpoint_does_at_every_size(
    decoder: tuple[GraphPlan, Runner], sizes: dict[str, int], lengths: list[int]
) -> None:
    graph, run = decoder
    feeds = feeds_of(graph, sizes, lengths)
    expected = run_module(graph, feeds)
    got = run(feeds)
    assert got["logits"].shape == (*(sizes[axis] for axis in ("batch", "beams", "tokens")), graph.outputs[0].shape[-1])
    for name, array in expected.items():
        np.testing.assert_allclose(got[name], array, atol=1e-5)


def test_what_is_behind_a_past_changes_nothing(decoder: tuple[GraphPlan, Runner]) -> None:
    graph, run = decoder
    feeds = feeds_of(graph, {"batch": 2, "beams": 2, "tokens": 1, "past": 8, "text": 6}, [3, 8])
    before = run(feeds)
    pasts = [name for name in feeds if name.startswith(("past_key", "past_value"))]
    for name in pasts:
        feeds[name] = feeds[name].copy()
        feeds[name][0, :, :, 3:] = 1e3
    for name, array in run(feeds).items():
        np.testing.assert_array_equal(array, before[name])
    # And so with a longer past in company: padding, and nothing else.
    alone = {name: array[:1] for name, array in feeds.items()}
    for name in pasts:
        alone[name] = alone[name][:, :, :, :3]
    for name, array in run(alone).items():
        np.testing.assert_allclose(array[0], before[name][0], atol=1e-5)


def test_steps_give_what_the_whole_text_gives_at_once(decoder: tuple[GraphPlan, Runner]) -> None:
    graph, run = decoder
    feeds = feeds_of(graph, {"batch": 1, "beams": 2, "tokens": 6, "past": 1, "text": 6}, [0])
    whole = run(feeds)
    for kept in (1, 4):
        later = dict(feeds, input_ids=feeds["input_ids"][:, :, kept:], past_lengths=np.array([kept], np.int32))
        later |= {name.replace("new", "past"): whole[name][:, :, :, :kept] for name in whole if name != "logits"}
        np.testing.assert_allclose(run(later)["logits"], whole["logits"][:, :, kept:], atol=1e-5)


def test_keys_of_a_picture_are_looked_at_where_they_lie(repository: Path, tmp_path: Path) -> None:
    """At every word, turning or scaling them would copy tens of megabytes in a model of full size."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    path = str(graph_file(repository, "caption", "decoder"))
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    readers = [
        node.op_type
        for node in onnx.load(tmp_path / "optimised.onnx").graph.node
        if node.op_type != "Shape" and any(name.startswith("at_") for name in node.input)
    ]
    assert sorted(readers) == ["FusedMatMul"] * 2 + ["MatMul"] * 2


@pytest.mark.parametrize(
    ("kind", "role", "output"), [("match", "fusion", "itm_logits"), ("vqa", "question", "question_key_0")]
)
def test_a_text_that_is_none_beside_others_is_still_a_number(
    repository: Path, kind: str, role: str, output: str
) -> None:
    ref = made(repository, kind).graph(role)
    rng = np.random.default_rng(0)
    sizes = {"batch": 2, "texts": 3, "text": 5}
    feeds: Arrays = {
        spec.name: rng.normal(size=[sizes[d] if isinstance(d, str) else d for d in spec.shape]).astype(np.float32)
        for spec in ref.inputs
    }
    mask = np.ones((2, 3, 5), np.int32)
    mask[0, 1:], mask[1, 0, 2:] = 0, 0
    feeds |= {"question_ids": rng.integers(5, 20, (2, 3, 5)).astype(np.int32) * mask, "question_mask": mask}
    run = onnx_runner(graph_file(repository, kind, role), threads=1)
    together = run(feeds)
    assert all(np.isfinite(array).all() for array in together.values())
    alone = {name: array[:1, :1] if name.startswith("question") else array[:1] for name, array in feeds.items()}
    np.testing.assert_allclose(run(alone)[output][0, 0], together[output][0, 0], atol=1e-5)


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A captioner whose word head has a matrix of its own."""
    return export_tiny_blip(tmp_path_factory.mktemp("apart"), "caption", tied_words=False, **SHARED)


def test_a_word_head_of_its_own_is_exported_with_proof(apart: Path) -> None:
    assert made(apart, "caption").proof.holds()


@pytest.mark.parametrize(("sizes", "lengths"), [DECODING[0], DECODING[4]])
def test_a_decoder_says_words_by_a_matrix_of_its_own(apart: Path, sizes: dict[str, int], lengths: list[int]) -> None:
    model = tiny_blip("caption", tied_words=False, **SHARED)
    graph = BlipParts(model).decoder(masked=False)
    feeds = feeds_of(graph, sizes, lengths)
    expected = run_module(graph, feeds)
    for name, array in onnx_runner(graph_file(apart, "caption", "decoder"), threads=1)(feeds).items():
        np.testing.assert_allclose(array, expected[name], atol=1e-5)
    model.text_decoder.cls.predictions.decoder.weight.data.copy_(
        model.text_decoder.bert.embeddings.word_embeddings.weight
    )
    assert np.abs(run_module(graph, feeds)["logits"] - expected["logits"]).max() > 0.1, "the word table says the same"


@pytest.mark.parametrize("tied", [True, False])
def test_a_decoder_is_quantised_with_its_word_table(
    repository: Path, apart: Path, tmp_path: Path, *, tied: bool
) -> None:
    model = onnx.load(graph_file(repository if tied else apart, "caption", "decoder"))
    # In each block four products of the text's attention, two of the other (its keys and values are given) and two of
    # the perceptron; and the word head's two.
    assert quantize_rows(model) == 2 * 8 + 2
    check_operators(model, INT8_OPERATORS)
    onnx.save(model, tmp_path / "int8.onnx")
    graph = BlipParts(tiny_blip("caption", tied_words=tied, **SHARED)).decoder(masked=False)
    feeds = feeds_of(graph, {"batch": 2, "beams": 3, "tokens": 1, "past": 6}, [6, 2])
    got, expected = onnx_runner(tmp_path / "int8.onnx", threads=1)(feeds), run_module(graph, feeds)
    assert np.abs(got["logits"] - expected["logits"]).max() < 0.2 * expected["logits"].std()


def test_the_module_of_a_decoder_is_the_checkpoints_own_way_of_reading_a_text() -> None:
    import torch

    model = tiny_blip("caption")
    graph = BlipParts(model).decoder(masked=False)
    assert isinstance(graph.module, DecoderGraph)
    feeds = feeds_of(graph, {"batch": 2, "beams": 2, "tokens": 5, "past": 1}, [0, 0])
    pixels = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    with torch.no_grad():
        cross = model.text_decoder.bert.cross_states(model.encode_image(pixels))
        expected = model.decode(torch.from_numpy(feeds["input_ids"]), cross)
    feeds |= {"at_key_0": cross[0].keys.numpy(), "at_value_0": cross[0].values.numpy()}
    np.testing.assert_allclose(run_module(graph, feeds)["logits"], expected.numpy(), atol=1e-5)
