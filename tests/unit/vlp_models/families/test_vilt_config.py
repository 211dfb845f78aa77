from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from vlp_models.families.vilt_config import ViltConfig
from vlp_spec.errors import ConfigError

CONFIG = ViltConfig(
    hidden_size=8,
    num_layers=1,
    num_heads=2,
    patch_size=4,
    image_size=14,
    vocab_size=20,
    max_text_len=6,
    heads=("vqa", "itm"),
    num_labels=3,
)


def test_it_survives_json() -> None:
    values = CONFIG.to_dict()
    assert values["model_type"] == "vlpserve-vilt"
    assert ViltConfig.from_dict(values) == CONFIG


def test_the_grid_is_floored() -> None:
    assert CONFIG.grid_side == 3


def test_unknown_and_missing_keys_are_all_told() -> None:
    values = CONFIG.to_dict() | {"colour": 1, "model_type": "other"}
    del values["heads"], values["num_layers"]
    with pytest.raises(ConfigError) as caught:
        ViltConfig.from_dict(values)
    assert len(caught.value.faults) == 4
    assert "'colour'" in caught.value.message
    assert "'heads'" in caught.value.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": 0}, "hidden_size: expected a positive"),
        ({"num_layers": 1.5}, "num_layers: expected a positive"),
        ({"num_heads": 3}, "not a multiple of num_heads"),
        ({"image_size": 3}, "smaller than patch_size"),
        ({"heads": ("vqa", "dance")}, "unknown head 'dance'"),
        ({"num_labels": 0}, "expected above 0 with the head 'vqa'"),
        ({"heads": ("itm",)}, "0 without it"),
        ({"heads": ("vqa", "nlvr2")}, "need at least 3"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_what_cannot_be_built_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(CONFIG, **change)
