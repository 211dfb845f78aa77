from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from vlp_pipeline.images import ImageLimits
from vlp_pipeline.pipeline import FoundRegions, Item
from vlp_pipeline.regions import RegionLimits, check_regions
from vlp_pipeline.text import TextLimits
from vlp_server.engines.base import LoadedGraph
from vlp_server.engines.dummy import DummyEngine
from vlp_server.engines.dummy_arrays import boxes_of
from vlp_server.engines.dummy_deployment import build_dummy_deployment
from vlp_server.engines.dummy_pipeline import build_dummy_pipeline
from vlp_server.engines.settings import EngineSettings
from vlp_spec.errors import InferenceError, InvalidArgumentError, InvalidImageError, TooLargeError
from vlp_spec.tasks import EntailmentQuery, GroundingQuery, ReasoningQuery

BOXES = np.array([[0.1, 0.2, 0.5, 0.4], [0.0, 0.0, 1.0, 1.0]])
REGIONS = check_regions(BOXES, np.arange(16.0).reshape(2, 8))


def pipeline_of(name: str) -> Any:
    return build_dummy_pipeline(build_dummy_deployment(name), ImageLimits(), TextLimits())


def run(name: str, pipeline: Any, items: list[Item]) -> dict[str, np.ndarray]:
    deployment = build_dummy_deployment(name)
    engine = DummyEngine(EngineSettings(engine="dummy"))
    engine.load(LoadedGraph("k", deployment.graph(items[0].role), Path(), deployment.axes))
    return engine.run("k", pipeline.collate(items))


def row(outputs: dict[str, np.ndarray], index: int = 0) -> dict[str, np.ndarray]:
    return {name: array[index] for name, array in outputs.items()}


def picture(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (70, 40), colour).save(data, "PNG")
    return data.getvalue()


def found_in(data: bytes) -> FoundRegions:
    extractor = pipeline_of("dummy-extractor")
    image = extractor.prepare_image(data)
    seen = run("dummy-extractor", extractor, [extractor.backbone_item(image)])
    proposals = extractor.proposals_item(image, row(seen))
    judged = run("dummy-extractor", extractor, [proposals])
    found: FoundRegions = extractor.found(image, proposals, row(judged))
    return found


def test_equal_pictures_have_equal_regions_and_others_have_others() -> None:
    red, again, blue = found_in(picture("red")), found_in(picture("red")), found_in(picture("blue"))
    assert red.regions.digest() == again.regions.digest() != blue.regions.digest()
    assert (red.names, red.attributes) == (again.names, again.attributes)


def test_regions_are_sorted_and_within_the_picture() -> None:
    regions = found_in(picture("red")).regions
    assert regions.scores is not None
    assert regions.scores.tolist() == sorted(regions.scores.tolist(), reverse=True)
    assert regions.features.shape == (6, 8)
    assert (regions.boxes >= 0).all()
    assert (regions.boxes <= 1).all()
    assert (regions.boxes[:, :2] < regions.boxes[:, 2:]).all()


def test_boxes_come_of_any_corners() -> None:
    corners = np.array([[0, 0, 0, 0], [8, -8, -8, 8], [100, 100, -100, -100]], dtype=np.float32)
    np.testing.assert_allclose(
        boxes_of(corners), [[0.45, 0.45, 0.55, 0.55], [0.0003, 0.0003, 0.9997, 0.9997], [0, 0, 1, 1]], atol=1e-4
    )


def test_what_is_no_picture_has_no_regions() -> None:
    with pytest.raises(InvalidImageError):
        pipeline_of("dummy-extractor").prepare_image(b"no picture")


def test_a_reader_takes_regions_as_they_are() -> None:
    image = pipeline_of("dummy-reader").prepare_regions(REGIONS)
    assert image.sizes == {"regions": 2}
    assert image.arrays["region_features"] is REGIONS.features
    assert image.arrays["region_mask"].tolist() == [1, 1]
    assert image.digest == REGIONS.digest()


def test_a_reader_refuses_what_its_graph_cannot_read() -> None:
    reader = pipeline_of("dummy-reader")
    with pytest.raises(InvalidArgumentError, match=r"got shape \(2, 9\), expected \(regions, 8\)"):
        reader.prepare_regions(check_regions(BOXES, np.ones((2, 9))))
    many = check_regions(np.tile(BOXES[:1], (101, 1)), np.ones((101, 8)), limits=RegionLimits(max_regions=101))
    with pytest.raises(TooLargeError, match="101 regions, at most 100"):
        reader.prepare_regions(many)


def test_a_row_is_the_same_alone_and_padded_in_a_batch() -> None:
    reader, query = pipeline_of("dummy-reader-entailment"), EntailmentQuery("a dog")
    items = [reader.prepare(reader.prepare_regions(regions), query) for regions in (REGIONS, REGIONS.first(1), REGIONS)]
    together = run("dummy-reader-entailment", reader, items)
    for index, item in enumerate(items):
        alone = run("dummy-reader-entailment", reader, [item])
        np.testing.assert_array_equal(alone["entailment_logits"][0], together["entailment_logits"][index])
    assert not np.array_equal(together["entailment_logits"][0], together["entailment_logits"][1])


@pytest.mark.parametrize("name", ["a-reasoning", "a-reader-reasoning"])
def test_left_and_right_are_told_apart(name: str) -> None:
    pipeline, query = pipeline_of(name), ReasoningQuery("a")
    if "reader" in name:
        one, other = pipeline.prepare_regions(REGIONS), pipeline.prepare_regions(REGIONS.first(1))
    else:
        one, other = pipeline.prepare_image(picture("red")), pipeline.prepare_image(picture("blue"))
    outputs = run(name, pipeline, [pipeline.prepare(one, other, query), pipeline.prepare(other, one, query)])
    scores = [pipeline.result(query, row(outputs, index)).score for index in (0, 1)]
    assert scores[0] != scores[1]
    assert all(0 < score < 1 for score in scores)


def test_a_judgement_is_a_distribution_over_the_labels() -> None:
    pipeline, query = pipeline_of("a-entailment"), EntailmentQuery("a")
    result = pipeline.result(query, {"entailment_logits": np.array([0.0, 2.0, 1.0], dtype=np.float32)})
    assert [scored.label for scored in result.scores] == ["neutral", "contradiction", "entailment"]
    weights = np.exp([2.0, 1.0, 0.0])
    np.testing.assert_allclose([scored.score for scored in result.scores], weights / weights.sum(), rtol=1e-6)
    with pytest.raises(InferenceError):
        pipeline.result(query, {"entailment_logits": np.array([0.0, np.nan, 1.0], dtype=np.float32)})


def test_boxes_are_best_first_and_no_more_than_asked_for() -> None:
    pipeline, query = pipeline_of("a-grounding"), GroundingQuery("a", top_k=2)
    outputs = {
        "grounding_corners": np.tile(np.array([8, -8, -8, 8], dtype=np.float32), (6, 1)),
        "grounding_logits": np.array([0, 3, 1, 2, 0, 0], dtype=np.float32),
    }
    outputs["grounding_corners"][1] = 0
    result = pipeline.result(query, outputs)
    assert len(result.boxes) == 2
    np.testing.assert_allclose(result.boxes[0].box, (0.45, 0.45, 0.55, 0.55), atol=1e-6)
    weights = np.exp([3.0, 2.0, 1.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose([one.score for one in result.boxes], (weights / weights.sum())[:2], rtol=1e-6)
