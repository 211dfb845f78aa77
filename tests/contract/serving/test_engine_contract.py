"""One set of assertions over every engine that computes in this process; contract/on_triton has Triton's."""

from pathlib import Path

import numpy as np
import pytest
from tiny_repository import LABELS, build_graph, publish
from vlp_server.engines.base import LoadedGraph
from vlp_server.engines.dummy_deployment import DUMMY_LABELS, build_dummy_deployment
from vlp_server.engines.registry import ENGINES, build_engine
from vlp_server.engines.settings import EngineSettings
from vlp_spec.errors import ArtifactError, InternalError

KEY = "model@1/fusion"


@pytest.fixture(params=sorted(set(ENGINES) - {"triton"}))
def case(request, tmp_path):
    """An engine, a graph that it can load, and the number of labels."""
    engine = build_engine(EngineSettings(engine=request.param, threads=1))
    if request.param == "dummy":
        deployment, directory, labels = build_dummy_deployment("dummy"), Path(), len(DUMMY_LABELS)
    else:
        deployment, labels = publish(tmp_path), len(LABELS)
        directory = tmp_path / "model_repository" / "tiny-fp32" / "1"
    yield engine, LoadedGraph(KEY, deployment.graphs[0], directory, deployment.axes), labels
    engine.close()


def feeds_for(graph, rows, text, patches):
    random = np.random.default_rng(rows)
    width = graph.ref.inputs[0].shape[2]
    return {
        "patches": random.integers(0, 256, (rows, patches, width), dtype=np.uint8),
        "grid": np.tile(np.array([1, patches], dtype=np.int32), (rows, 1)),
        "input_ids": random.integers(4, 11, (rows, text), dtype=np.int32),
        "text_mask": np.ones((rows, text), dtype=np.int32),
    }


def test_ready_follows_load_unload_and_close(case):
    engine, graph, _ = case
    assert not engine.ready(KEY)
    engine.load(graph)
    assert engine.ready(KEY)
    engine.unload(KEY)
    engine.unload("never loaded")
    assert not engine.ready(KEY)
    engine.load(graph)
    engine.close()
    engine.close()
    assert not engine.ready(KEY)


def test_outputs_are_those_of_the_manifest_for_every_shape(case):
    engine, graph, labels = case
    engine.load(graph)
    for rows, text, patches in ((1, 4, 1), (3, 7, 4), (8, 10, 8)):
        outputs = engine.run(KEY, feeds_for(graph, rows, text, patches))
        assert set(outputs) == {"logits"}
        assert outputs["logits"].shape == (rows, labels)
        assert outputs["logits"].dtype == np.float32


def test_inputs_are_not_changed_and_outputs_repeat(case):
    engine, graph, _ = case
    engine.load(graph)
    feeds = feeds_for(graph, 2, 5, 3)
    before = {name: array.copy() for name, array in feeds.items()}
    first, second = engine.run(KEY, feeds), engine.run(KEY, feeds)
    np.testing.assert_array_equal(first["logits"], second["logits"])
    assert first["logits"] is not second["logits"]
    for name, array in feeds.items():
        np.testing.assert_array_equal(array, before[name])


def test_a_row_is_the_same_alone_and_padded_in_a_batch(case):
    engine, graph, _ = case
    engine.load(graph)
    feeds = feeds_for(graph, 5, 6, 4)
    alone = np.concatenate(
        [engine.run(KEY, {name: array[row : row + 1] for name, array in feeds.items()})["logits"] for row in range(5)]
    )
    padded = {
        "patches": np.pad(feeds["patches"], ((0, 0), (0, 3), (0, 0))),
        "grid": feeds["grid"],
        "input_ids": np.pad(feeds["input_ids"], ((0, 0), (0, 2))),
        "text_mask": np.pad(feeds["text_mask"], ((0, 0), (0, 2))),
    }
    np.testing.assert_allclose(engine.run(KEY, padded)["logits"], alone, atol=1e-5)


def test_a_graph_that_is_not_loaded_is_our_fault(case):
    engine, graph, _ = case
    with pytest.raises(InternalError):
        engine.run(KEY, feeds_for(graph, 1, 4, 1))


def test_a_graph_without_its_file_is_refused_by_the_engine_that_needs_one(tmp_path):
    deployment = publish(tmp_path, graph=build_graph())
    engine = build_engine(EngineSettings(threads=1))
    with pytest.raises(ArtifactError, match="missing"):
        engine.load(LoadedGraph(KEY, deployment.graphs[0], tmp_path, deployment.axes))
