from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from vlp_pipeline.detector_settings import DetectorSettings
from vlp_spec.errors import ArtifactError

SETTINGS = DetectorSettings.bottom_up_attention()


def test_they_survive_json() -> None:
    other = replace(SETTINGS, min_score=0.0, min_box_side_px=1.0, pixel_dtype="uint8")
    for settings in (SETTINGS, other):
        values = json.loads(json.dumps(settings.to_mapping()))
        assert values["type"] == "faster-rcnn"
        assert DetectorSettings.from_mapping(values) == settings


def test_the_published_ones_are_those_of_uniters_features() -> None:
    assert (SETTINGS.shorter_edge, SETTINGS.longer_edge, SETTINGS.stride_px) == (600, 1000, 16)
    assert (SETTINGS.pre_nms_top_n, SETTINGS.post_nms_top_n, SETTINGS.proposal_max_iou) == (6000, 300, 0.7)
    assert (SETTINGS.class_max_iou, SETTINGS.min_score) == (0.3, 0.2)
    assert (SETTINGS.min_regions, SETTINGS.max_regions) == (10, 100)
    assert len(SETTINGS.cell_anchors) == 12


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"colour": 1}, "unknown key colour"),
        ({"cell_anchors": None}, "expected a list of"),
        ({"cell_anchors": [[0, 0, "a", 1]]}, "expected numbers only"),
        ({"cell_anchors": [[0, 0, 0, 1]]}, "x0 < x1"),
        ({"cell_anchors": [[0, 0, float("nan"), 1]]}, "x0 < x1"),
        ({"cell_anchors": []}, "at least one"),
        ({"stride_px": 0}, "1 <= stride_px"),
        ({"shorter_edge": 1200}, "shorter_edge <= longer_edge"),
        ({"shorter_edge": 600.5}, "expected int"),
        ({"pixel_dtype": "int8"}, "none of uint8, float32"),
        ({"post_nms_top_n": 9000}, "post_nms_top_n <= pre_nms_top_n"),
        ({"min_regions": 101}, "min_regions <= max_regions"),
        ({"min_score": 1.5}, "min_score: expected 0 to 1"),
        ({"class_max_iou": "0.3"}, "expected float"),
        ({"min_box_side_px": -1}, "min_box_side_px"),
        ({"type": "vilt"}, "expected 'faster-rcnn'"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ArtifactError, match=words):
        DetectorSettings.from_mapping(SETTINGS.to_mapping() | change)


def test_the_anchors_must_be_there() -> None:
    with pytest.raises(ArtifactError, match="missing key cell_anchors"):
        DetectorSettings.from_mapping({"type": "faster-rcnn"})
