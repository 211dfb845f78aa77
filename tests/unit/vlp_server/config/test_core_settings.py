from __future__ import annotations

from pathlib import Path

import pytest
from vlp_pipeline.images import ImageLimits
from vlp_server.config import ModelTarget, core_settings, load_config
from vlp_spec.errors import ConfigError


def test_the_core_gets_what_was_set() -> None:
    flags = {
        "engine.threads": "2",
        "batch.max_items": "3",
        "core.max_image_side": "99",
        "limits.question_chars": "5000",
    }
    targets = [ModelTarget("a@2", Path("/r")), ModelTarget("dummy", None)]
    settings = core_settings(load_config(flags, {}), targets, "dummy")
    real, dummy = settings.models
    assert (real.reference, real.repository, real.engine.engine, real.engine.threads) == ("a@2", Path("/r"), "onnx", 2)
    assert (dummy.repository, dummy.engine.engine, dummy.engine.threads) == (None, "dummy", 2)
    assert real.batch.max_items == 3
    assert (settings.max_image_side, settings.max_text_chars, settings.default_model) == (99, 5000, "dummy")
    assert settings.preprocess_threads >= 1


def test_threads_that_are_named_are_taken() -> None:
    config = load_config({"core.preprocess_threads": "3"}, {})
    assert core_settings(config, [ModelTarget("dummy", None)]).preprocess_threads == 3


def test_more_pixels_than_the_decoder_takes_are_refused_when_the_configuration_is_read() -> None:
    with pytest.raises(ConfigError, match="max_image_pixels"):
        load_config({"core.max_image_pixels": "89478486"}, {})
    ImageLimits(max_pixels=load_config({"core.max_image_pixels": "89478485"}, {}).core.max_image_pixels)


def test_no_model_is_a_fault() -> None:
    with pytest.raises(ConfigError, match="none given"):
        core_settings(load_config({}, {}), [])
