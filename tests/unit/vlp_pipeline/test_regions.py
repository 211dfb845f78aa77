from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from vlp_pipeline.regions import (
    RegionLimits,
    Regions,
    check_regions,
    count_selected,
    region_positions,
    select_regions,
)
from vlp_spec.errors import InvalidArgumentError, TooLargeError

BOXES = np.array([[0.1, 0.2, 0.5, 0.4], [0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.75, 1.0]])
FEATURES = np.arange(12, dtype=np.float64).reshape(3, 4)


def test_arrays_of_any_float_become_one_read_only_record() -> None:
    scores = np.array([[0.9], [0.5], [0.1]], dtype=np.float16)
    classes = np.full((3, 5), 0.2, dtype=np.float16)
    regions = check_regions(
        BOXES.astype(np.float16), FEATURES.astype(np.float16), scores=scores, class_probabilities=classes
    )
    assert len(regions) == 3
    assert regions.scores is not None
    assert regions.scores.shape == (3,)
    for array in (regions.boxes, regions.features, regions.positions, regions.scores, regions.class_probabilities):
        assert array is not None
        assert array.dtype == np.float32
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    np.testing.assert_array_equal(regions.features, FEATURES)
    assert regions.size_bytes == 4 * 3 * (4 + 4 + 7 + 1 + 5)


def test_the_record_is_a_copy() -> None:
    features = FEATURES.astype(np.float32)
    regions = check_regions(BOXES, features)
    features[:] = 0
    assert regions.features[2, 3] == 11


def test_positions_are_corners_sides_and_area() -> None:
    np.testing.assert_allclose(
        check_regions(BOXES, FEATURES).positions,
        [[0.1, 0.2, 0.5, 0.4, 0.4, 0.2, 0.08], [0, 0, 1, 1, 1, 1, 1], [0.25, 0.5, 0.75, 1, 0.5, 0.5, 0.25]],
        rtol=1e-6,
    )


def test_stored_sides_are_kept_to_the_bit() -> None:
    # As float16 the width is not the difference of the corners.
    stored = np.array([[0.1, 0.2, 0.5, 0.4, 0.4, 0.2]], dtype=np.float16).astype(np.float32)
    positions = region_positions(stored[:, :4], stored[:, 4:])
    np.testing.assert_array_equal(positions[:, :6], stored)
    assert positions[0, 4] != positions[0, 2] - positions[0, 0]
    assert positions[0, 6] == stored[0, 4] * stored[0, 5]
    regions = check_regions(stored[:, :4], FEATURES[:1], sides=stored[:, 4:])
    np.testing.assert_array_equal(regions.positions, positions)


def test_what_reaches_out_of_the_picture_by_rounding_is_clipped() -> None:
    regions = check_regions(np.array([[-0.0009, 0, 0.5, 1.0009]]), FEATURES[:1])
    np.testing.assert_allclose(regions.boxes, [[0, 0, 0.5, 1]])
    assert regions.positions[0, 3] == np.float32(1.0009)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"boxes": BOXES[:0], "features": FEATURES[:0]}, "0 regions"),
        ({"boxes": BOXES[:2]}, "2 boxes, 3 features"),
        ({"boxes": BOXES[:, :3]}, r"boxes: got shape \(3, 3\), expected \(regions, 4\)"),
        ({"boxes": BOXES[0]}, "boxes: got shape"),
        ({"boxes": BOXES.tolist()}, "boxes: got list"),
        ({"boxes": BOXES.astype(bool)}, "boxes: got bool"),
        ({"boxes": BOXES.astype(object)}, "boxes: got object"),
        ({"boxes": BOXES * 640}, r"box 0 is \(64, 128, 320, 256\), expected shares"),
        ({"boxes": BOXES + 0.002}, "box 1 is"),
        ({"boxes": BOXES - (0.002, 0, 0, 0)}, "box 1 is"),
        ({"boxes": BOXES[:, [2, 1, 0, 3]]}, "box 0 is .* expected x0 < x1"),
        ({"boxes": BOXES[:, [0, 1, 0, 3]]}, "box 0 is .* expected x0 < x1"),
        ({"boxes": np.array([*BOXES[:2], [1.0002, 0, 1.0004, 1]])}, "box 2 is .* expected x0 < x1"),
        ({"boxes": np.where(BOXES == 0.5, np.nan, BOXES)}, "boxes: region 0 has NaN"),
        ({"features": FEATURES[:, :0]}, "features: got shape"),
        ({"features": FEATURES[0]}, "features: got shape"),
        ({"features": FEATURES.astype(complex)}, "features: got complex128"),
        ({"features": FEATURES.astype(str)}, "features: got <U"),
        ({"features": np.where(FEATURES == 7, np.nan, FEATURES)}, "features: region 1 has NaN"),
        ({"features": np.where(FEATURES == 7, np.inf, FEATURES)}, "features: region 1 has"),
        ({"features": np.where(FEATURES == 7, 1e39, FEATURES)}, "features: region 1 has"),
        ({"scores": np.ones(2)}, "3 boxes, 3 features, 2 scores"),
        ({"scores": np.ones((3, 2))}, "scores: got shape"),
        ({"scores": np.array([0.5, 1.5, 0.5])}, "scores: region 1 has 1.5"),
        ({"scores": np.array([0.5, 0.5, np.nan])}, "scores: region 2 has NaN"),
        ({"class_probabilities": np.full((3, 2), -0.5)}, "class_probabilities: region 0 has -0.5"),
        ({"class_probabilities": np.ones(3)}, "class_probabilities: got shape"),
        ({"sides": np.ones((3, 2))}, "sides: those of box 0"),
        ({"sides": np.ones((3, 3))}, "sides: got shape"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], names: str) -> None:
    with pytest.raises(InvalidArgumentError, match=names) as caught:
        check_regions(**{"boxes": BOXES, "features": FEATURES, **change})
    assert caught.value.field == "regions"


def test_features_of_another_width_than_the_models_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match=r"features: got shape \(3, 4\), expected \(regions, 2048\)"):
        check_regions(BOXES, FEATURES, limits=RegionLimits(feature_width=2048))


@pytest.mark.parametrize("rows", [101, 10_000])
def test_too_many_regions_are_refused(rows: int) -> None:
    boxes = np.tile(BOXES[:1], (rows, 1))
    with pytest.raises(TooLargeError, match=f"{rows} regions, at most 100"):
        check_regions(boxes, np.zeros((rows, 4)))
    assert len(check_regions(boxes, np.zeros((rows, 4)), limits=RegionLimits(max_regions=rows))) == rows


def test_arrays_over_the_limit_of_bytes_are_refused() -> None:
    limits = RegionLimits(max_bytes=4 * (12 + 12))
    assert len(check_regions(BOXES, FEATURES, limits=limits)) == 3
    with pytest.raises(TooLargeError, match="108 bytes of float32, at most 96"):
        check_regions(BOXES, FEATURES, scores=np.ones(3), limits=limits)


@pytest.mark.parametrize("limits", [{"feature_width": 0}, {"max_regions": 0}, {"max_bytes": -1}])
def test_limits_are_positive(limits: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        RegionLimits(**limits)


def test_the_digest_names_everything_that_is_in_the_record() -> None:
    plain = check_regions(BOXES, FEATURES)
    others = [
        check_regions(BOXES, FEATURES + 1),
        check_regions(BOXES * 0.5, FEATURES),
        check_regions(BOXES, FEATURES, scores=np.ones(3)),
        check_regions(BOXES, FEATURES, scores=np.zeros(3)),
        check_regions(BOXES, FEATURES, class_probabilities=np.ones((3, 1))),
        check_regions(BOXES, FEATURES, sides=BOXES[:, 2:] - BOXES[:, :2] + 1e-4),
        plain.first(2),
    ]
    digests = {regions.digest() for regions in (plain, *others)}
    assert len(digests) == 8
    assert all(len(digest) == 64 for digest in digests)
    assert check_regions(BOXES.astype(np.float32), FEATURES.astype(np.float32)).digest() == plain.digest()


def _scored(scores: list[float]) -> Regions:
    rows = len(scores)
    return check_regions(np.tile(BOXES[:1], (rows, 1)), np.arange(rows * 2.0).reshape(rows, 2), scores=np.array(scores))


@pytest.mark.parametrize(
    ("confident", "bounds", "selected"),
    [
        (0, {}, 10),
        (9, {}, 10),
        (14, {}, 14),
        (40, {}, 40),
        (40, {"max_regions": 36}, 36),
        (14, {"min_score": -1, "max_regions": 36, "min_regions": 36}, 36),
        (14, {"min_regions": 50, "max_regions": 60}, 40),
    ],
)
def test_as_many_regions_are_selected_as_are_confident_within_bounds(
    confident: int, bounds: dict[str, Any], selected: int
) -> None:
    regions = _scored([0.3] * confident + [0.2] * (40 - confident))
    chosen = select_regions(regions, **bounds)
    assert len(chosen) == selected
    np.testing.assert_array_equal(chosen.features, regions.features[:selected])
    assert chosen.scores is not None
    assert len(chosen.positions) == len(chosen.scores) == selected


def test_regions_without_scores_are_only_cut() -> None:
    regions = check_regions(BOXES, FEATURES)
    assert select_regions(regions) is regions
    assert len(select_regions(regions, max_regions=2, min_regions=1)) == 2


def test_the_count_may_exceed_what_is_there() -> None:
    assert count_selected(np.array([0.9, 0.1])) == 10
    assert count_selected(np.full(300, 0.9)) == 100


def test_bounds_that_cross_are_refused() -> None:
    regions = check_regions(BOXES, FEATURES)
    with pytest.raises(ValueError, match="min_regions <= max_regions"):
        select_regions(regions, max_regions=5)
    with pytest.raises(ValueError, match="1 or more"):
        regions.first(0)
