from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from vlp_pipeline.images import ImageLimits
from vlp_pipeline.region_settings import RegionSettings
from vlp_pipeline.text import TextLimits
from vlp_server.engines.base import LoadedGraph
from vlp_server.engines.dummy import DummyEngine
from vlp_server.engines.dummy_deployment import DUMMY_NAMES, build_dummy_canary, build_dummy_deployment
from vlp_server.engines.dummy_pipeline import build_dummy_pipeline
from vlp_server.engines.settings import EngineSettings
from vlp_spec.encoder_digest import encoder_digest
from vlp_spec.tasks import Task

KINDS = {
    "dummy": [Task.VQA],
    "anything": [Task.VQA],
    "my-encoder": [Task.EMBEDDINGS, Task.CLASSIFY],
    "my-matcher": [Task.MATCH],
    "my-entailment": [Task.ENTAILMENT],
    "my-reasoning": [Task.REASONING],
    "my-grounding": [Task.GROUNDING],
    "my-extractor": [Task.REGIONS],
    "dummy-reader": [Task.VQA],
    "my-reader-matcher": [Task.MATCH],
    "my-reader-entailment": [Task.ENTAILMENT],
    "my-reader-reasoning": [Task.REASONING],
    "my-reader-grounding": [Task.GROUNDING],
}


@pytest.mark.parametrize("name", KINDS)
def test_a_name_says_what_the_model_does(name: str) -> None:
    deployment = build_dummy_deployment(name)
    assert list(deployment.tasks) == KINDS[name]
    assert deployment.proof.holds()
    pipeline = build_dummy_pipeline(deployment, ImageLimits(), TextLimits())
    assert hasattr(pipeline, "prepare_regions") == ("-reader" in name)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_has_axes_for_its_inputs_and_a_canary_that_comes_back(name: str) -> None:
    deployment = build_dummy_deployment(name)
    inputs, outputs = build_dummy_canary(deployment)
    engine = DummyEngine(EngineSettings(engine="dummy"))
    for graph in deployment.graphs:
        assert {axis for spec in graph.inputs for axis in spec.shape if isinstance(axis, str)} <= set(deployment.axes)
        engine.load(LoadedGraph(graph.role, graph, Path(), deployment.axes))
        again = engine.run(graph.role, {spec.name: inputs[spec.name] for spec in graph.inputs})
        for spec in graph.outputs:
            assert again[spec.name].shape == (2, *spec.shape[1:])
            np.testing.assert_array_equal(again[spec.name], outputs[spec.name])
    assert set(inputs) == {spec.name for graph in deployment.graphs for spec in graph.inputs}


def test_two_pictures_have_inputs_and_axes_of_their_own() -> None:
    for name, inside in (("a-reasoning", "patches"), ("a-reader-reasoning", "regions")):
        deployment = build_dummy_deployment(name)
        assert set(deployment.axes) == {"batch", "text", f"left_{inside}", f"right_{inside}"}
        named = {spec.name for spec in deployment.graphs[0].inputs}
        assert {"input_ids", "text_mask"} <= named
        assert all(name.startswith(("left_", "right_")) for name in named - {"input_ids", "text_mask"})


def test_a_reader_names_the_extractor_whose_features_it_reads() -> None:
    settings = RegionSettings.from_mapping(build_dummy_deployment("a-reader-grounding").image)
    assert settings.extractor == "dummy-extractor"
    assert settings.extractor_digest == encoder_digest(build_dummy_deployment("other-extractor"))
    assert settings.extractor_digest != encoder_digest(build_dummy_deployment("dummy"))


def test_the_names_that_are_served_without_more_are_of_different_kinds() -> None:
    kinds = [(build_dummy_deployment(name).tasks, "-reader" in name) for name in DUMMY_NAMES]
    assert len(set(kinds)) == len(DUMMY_NAMES)
