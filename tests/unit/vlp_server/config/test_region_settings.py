from __future__ import annotations

from pathlib import Path

import pytest
from vlp_server.config import ModelTarget, core_settings, load_config
from vlp_spec.errors import ConfigError


@pytest.mark.parametrize("count", [1, 100, 1000])
def test_how_many_regions_a_call_may_hold(count: int) -> None:
    assert load_config({"limits.regions": str(count)}, {}).limits.regions == count
    assert load_config({}, {}).limits.regions == 100


@pytest.mark.parametrize("count", [0, 1001])
def test_the_number_of_regions_has_bounds(count: int) -> None:
    with pytest.raises(ConfigError, match=f"limits.regions: got {count}, expected 1 to 1000"):
        load_config({"limits.regions": str(count)}, {})


def test_the_cache_of_regions_can_be_set() -> None:
    variables = {"VLPSERVE_CACHE_REGION_ENTRIES": "5", "VLPSERVE_CACHE_REGION_BYTES": "0"}
    cache = core_settings(load_config({}, variables), [ModelTarget("a", Path("/r"))]).cache
    assert (cache.region_entries, cache.region_bytes) == (5, 0)
