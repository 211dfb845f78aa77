from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from vlp_pipeline.region_json import regions_from_json
from vlp_pipeline.regions import RegionLimits
from vlp_spec.errors import InvalidArgumentError, TooLargeError

BOXES = [[0.1, 0.2, 0.5, 0.4], [0, 0, 1, 1]]
FEATURES = np.array([[1.5, -2.0, 3.25], [0.0, 7.0, 9.0]], dtype="<f4")
TEXT = base64.b64encode(FEATURES.tobytes()).decode()
LIMITS = RegionLimits(feature_width=3, max_bytes=1000)


@pytest.mark.parametrize("features", [TEXT, FEATURES.tolist(), [[1.5, -2, 3.25], [0, 7, 9]]])
def test_features_are_base64_or_lists(features: Any) -> None:
    value = json.loads(json.dumps({"boxes": BOXES, "features": features, "scores": [0.9, 1]}))
    regions = regions_from_json(value, LIMITS)
    np.testing.assert_array_equal(regions.features, FEATURES)
    np.testing.assert_allclose(regions.boxes, BOXES, rtol=1e-6)
    assert regions.scores is not None
    assert regions.scores.tolist() == pytest.approx([0.9, 1])


def test_pixels_become_shares() -> None:
    value = {"boxes": [[64, 96, 320, 192], [0, 0, 640, 480]], "features": TEXT, "box_format": "pixels"}
    regions = regions_from_json({**value, "width": 640, "height": 480.0}, LIMITS)
    np.testing.assert_allclose(regions.boxes, BOXES, rtol=1e-6)
    assert regions.scores is None


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, "got NoneType, expected an object"),
        ([], "got list, expected an object"),
        ({"boxes": BOXES}, "no features"),
        ({"boxes": BOXES, "features": None}, "no features"),
        ({"features": TEXT}, "no boxes"),
        ({"boxes": [], "features": []}, "boxes: 0 regions"),
        ({"boxes": BOXES, "features": []}, "features: 0 regions"),
        ({"boxes": BOXES, "features": TEXT, "labels": []}, "unknown key 'labels'"),
        ({"boxes": "AAAA", "features": TEXT}, "boxes: got str, expected a list"),
        ({"boxes": [0, 0, 1, 1], "features": TEXT}, "boxes: expected a list of lists"),
        ({"boxes": [[0, 0, 1]], "features": TEXT}, "boxes: row 0 has 3 numbers, expected 4"),
        ({"boxes": [BOXES[0], [0, 0, 1, True]], "features": TEXT}, "boxes: row 1: got bool"),
        ({"boxes": [[0, 0, 1, "1"]], "features": TEXT}, "boxes: row 0: got str"),
        ({"boxes": [[0, 0, 1, None]], "features": TEXT}, "boxes: row 0: got NoneType"),
        ({"boxes": [[0, 0, 1, [1]]], "features": TEXT}, "boxes: row 0: got list"),
        ({"boxes": [[0, 0, 1, 10**400]], "features": TEXT}, "beyond the range of float"),
        ({"boxes": [[0, 0, 1, float("nan")], BOXES[0]], "features": TEXT}, "boxes: region 0 has NaN"),
        ({"boxes": [[0, 0, 1, float("inf")], BOXES[0]], "features": TEXT}, "boxes: region 0 has NaN or"),
        ({"boxes": [[0.5, 0, 0.1, 1], BOXES[0]], "features": TEXT}, "expected x0 < x1"),
        ({"boxes": [[0, 0, 64, 64], BOXES[0]], "features": TEXT}, "expected shares"),
        ({"boxes": BOXES, "features": "no base64!"}, "features: not base64"),
        ({"boxes": BOXES, "features": TEXT[:-4]}, "no whole number of float32|numbers for 2 regions"),
        ({"boxes": BOXES, "features": TEXT + TEXT}, r"features: got shape \(2, 6\), expected \(regions, 3\)"),
        ({"boxes": BOXES[:1], "features": TEXT}, r"features: got shape \(1, 6\), expected \(regions, 3\)"),
        ({"boxes": BOXES, "features": [[1, 2, 3]]}, "2 boxes, 1 features"),
        ({"boxes": BOXES, "features": [[1, 2, 3], [1, 2]]}, "features: row 1 has 2 numbers, expected 3"),
        ({"boxes": BOXES, "features": [[1, 2, 3], [1, 2, 1e39]]}, "features: region 1 has"),
        ({"boxes": BOXES, "features": TEXT, "scores": [0.5]}, "2 boxes, 1 scores"),
        ({"boxes": BOXES, "features": TEXT, "scores": 0.5}, "scores: got float, expected a list"),
        ({"boxes": BOXES, "features": TEXT, "scores": ["a", 1]}, "scores: got str"),
        ({"boxes": BOXES, "features": TEXT, "scores": [0.5, 90]}, "scores: region 1 has 90"),
        ({"boxes": BOXES, "features": TEXT, "box_format": "xywh"}, "box_format: expected 'shares' or 'pixels'"),
        ({"boxes": BOXES, "features": TEXT, "box_format": []}, "box_format: expected"),
        ({"boxes": BOXES, "features": TEXT, "width": 640}, "go with"),
        ({"boxes": BOXES, "features": TEXT, "box_format": "pixels"}, "width: expected the picture's"),
        ({"boxes": BOXES, "features": TEXT, "box_format": "pixels", "width": 640, "height": 0}, "height: expected"),
        ({"boxes": BOXES, "features": TEXT, "box_format": "pixels", "width": 10**5000, "height": 1}, "width: expected"),
        ({"boxes": BOXES, "features": TEXT, "box_format": "pixels", "width": True, "height": 1}, "width: expected"),
    ],
)
def test_what_is_wrong_is_named(value: Any, names: str) -> None:
    with pytest.raises(InvalidArgumentError, match=names) as caught:
        regions_from_json(value, LIMITS)
    assert caught.value.field == "regions"


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ({"boxes": BOXES * 5000, "features": TEXT}, "10000 regions, at most 100"),
        ({"boxes": BOXES, "features": [[0.0] * 3] * 101}, "101 regions, at most 100"),
        ({"boxes": BOXES, "features": TEXT, "scores": [0.5] * 101}, "101 regions, at most 100"),
        ({"boxes": BOXES, "features": "A" * 2000}, "features: 2000 characters, at most 1000 bytes"),
    ],
)
def test_what_is_too_much_is_refused(value: Any, names: str) -> None:
    with pytest.raises(TooLargeError, match=names):
        regions_from_json(value, LIMITS)


def test_wide_lists_are_refused_where_the_model_sets_no_width() -> None:
    with pytest.raises(TooLargeError, match="2 x 200 float32 are over 1000 bytes"):
        regions_from_json({"boxes": BOXES, "features": [[0.5] * 200] * 2}, RegionLimits(max_bytes=1000))
