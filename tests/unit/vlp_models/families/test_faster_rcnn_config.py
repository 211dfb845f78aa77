from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from vlp_models.families.faster_rcnn_config import FasterRcnnConfig
from vlp_spec.errors import ConfigError

PUBLISHED = FasterRcnnConfig.bottom_up_attention()


def test_it_survives_json() -> None:
    for config in (PUBLISHED, FasterRcnnConfig.scenes(68, 8)):
        values = json.loads(json.dumps(config.to_dict()))
        assert values["model_type"] == "vlpserve-faster-rcnn"
        assert FasterRcnnConfig.from_dict(values) == config


def test_the_published_sizes() -> None:
    assert (PUBLISHED.stride_px, PUBLISHED.map_width, PUBLISHED.feature_width) == (16, 1024, 2048)
    assert PUBLISHED.pixel_mean == (102.9801, 115.9465, 122.7717)
    assert (PUBLISHED.roi_resolution, PUBLISHED.res5_stride, PUBLISHED.res5_dilation) == (14, 1, 2)


def test_unknown_and_missing_keys_are_all_told() -> None:
    values = PUBLISHED.to_dict() | {"colour": 1, "model_type": "other"}
    del values["num_classes"]
    with pytest.raises(ConfigError) as caught:
        FasterRcnnConfig.from_dict(values)
    assert len(caught.value.faults) == 3
    assert "'num_classes'" in caught.value.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_classes": 0}, "num_classes: expected a positive"),
        ({"rpn_width": True}, "rpn_width: expected a positive"),
        ({"depths": (3, 4)}, "depths: expected 3 numbers"),
        ({"depths": (3, 4, 0)}, "depths: expected numbers that fit"),
        ({"strides": "122"}, "strides: expected numbers that fit"),
        ({"anchor_sizes_px": ()}, "anchor_sizes_px: expected numbers that fit"),
        ({"anchor_ratios": (0.0,)}, "anchor_ratios: expected numbers above 0"),
        ({"pixel_std": (1.0, float("nan"), 1.0)}, "pixel_std: expected numbers that fit"),
        ({"box_weights": (1.0,)}, "box_weights: expected 4 numbers"),
        ({"frozen_norm": 1}, "frozen_norm: expected true or false"),
    ],
)
def test_what_cannot_be_built_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(PUBLISHED, **change)
