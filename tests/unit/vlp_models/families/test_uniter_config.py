from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from vlp_models.families.uniter_config import UniterConfig
from vlp_spec.errors import ConfigError

CONFIG = UniterConfig(
    hidden_size=8,
    num_layers=1,
    num_heads=2,
    intermediate_size=12,
    vocab_size=20,
    max_positions=6,
    heads=("vqa", "entailment", "nlvr2"),
    num_token_types=3,
    num_labels=3,
    entailment_labels=("no", "yes", "maybe"),
)


def test_it_survives_json() -> None:
    values = json.loads(json.dumps(CONFIG.to_dict()))
    assert values["model_type"] == "vlpserve-uniter"
    assert UniterConfig.from_dict(values) == CONFIG


def test_the_published_sizes_are_the_defaults() -> None:
    assert (CONFIG.region_size, CONFIG.num_region_classes, CONFIG.layer_norm_eps) == (2048, 1601, 1e-12)
    assert CONFIG.max_text_len == CONFIG.max_positions


def test_unknown_and_missing_keys_are_all_told() -> None:
    values = CONFIG.to_dict() | {"colour": 1, "model_type": "other", "entailment_labels": "yes"}
    del values["heads"], values["num_layers"]
    with pytest.raises(ConfigError) as caught:
        UniterConfig.from_dict(values)
    assert len(caught.value.faults) == 5
    for word in ("'colour'", "'heads'", "'num_layers'", "'other'", "'yes'"):
        assert word in caught.value.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": 0}, "hidden_size: expected a positive"),
        ({"region_size": 2.5}, "region_size: expected a positive"),
        ({"num_layers": True}, "num_layers: expected a positive"),
        ({"num_heads": 3}, "not a multiple of num_heads"),
        ({"heads": ("vqa", "dance")}, "unknown head 'dance'"),
        ({"num_labels": 0}, "expected above 0 with the head 'vqa'"),
        ({"heads": ("entailment",)}, "0 without it"),
        ({"entailment_labels": ()}, "got 0, expected 2 or more with the head 'entailment'"),
        ({"entailment_labels": ("yes",)}, "got 1, expected 2 or more"),
        ({"entailment_labels": ("yes", "yes")}, "expected different names"),
        ({"entailment_labels": ("yes", ["no"])}, "expected different names"),
        ({"heads": ("vqa",)}, "none without it"),
        ({"num_token_types": 2}, "need at least 3"),
        ({"heads": ("vqa", "entailment", "vcr")}, "need at least 4"),
        ({"nlvr2_variant": "pair"}, "nlvr2_variant: got 'pair', expected one of paired-attn, paired, triplet"),
        ({"dropout": 1.0}, "dropout"),
        ({"attention_dropout": "much"}, "attention_dropout"),
    ],
)
def test_what_cannot_be_built_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(CONFIG, **change)


def test_two_pictures_that_are_not_told_apart_need_two_token_types() -> None:
    assert replace(CONFIG, second_image_type=False, num_token_types=2).num_token_types == 2
