from __future__ import annotations

from pathlib import Path

import pytest
from vlp_server.config import ModelTarget, load_config
from vlp_server.config.server import core_settings
from vlp_spec.errors import ConfigError

TARGETS = [ModelTarget("small@2", Path("repo")), ModelTarget("large", Path("repo"))]


def test_a_model_may_have_threads_and_memory_of_its_own() -> None:
    variables = {
        "VLPSERVE_ENGINE_THREADS": "2",
        "VLPSERVE_MODELS_THREADS": "small=1",
        "VLPSERVE_MODELS_MEMORY_LIMIT_BYTES": "large=1000000,small=5",
    }
    small, large = core_settings(load_config({}, variables), TARGETS).models
    assert (small.engine.threads, large.engine.threads) == (1, 2)
    assert (small.engine.memory_limit_bytes, large.engine.memory_limit_bytes) == (5, 1_000_000)


@pytest.mark.parametrize("pair", ["small", "small=", "=1", "small=-1", "small=1.5", "small=two"])
def test_a_pair_that_is_none_is_refused(pair: str) -> None:
    with pytest.raises(ConfigError, match="expected NAME=NUMBER"):
        load_config({}, {"VLPSERVE_MODELS_THREADS": pair})


def test_limits_of_a_model_that_is_not_served_are_refused() -> None:
    with pytest.raises(ConfigError, match="'smal', which is not served"):
        core_settings(load_config({}, {"VLPSERVE_MODELS_THREADS": "smal=1"}), TARGETS)
