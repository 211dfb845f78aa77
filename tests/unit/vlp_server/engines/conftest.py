"""Make tests/support importable: tests are imported one by one, not as packages. And two servers that play Triton."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "support"))

from triton_rig import doubled
from triton_standin import TritonStandIn


@pytest.fixture
async def one() -> AsyncIterator[TritonStandIn]:
    async with TritonStandIn(doubled, g=[1]) as started:
        yield started


@pytest.fixture
async def two() -> AsyncIterator[TritonStandIn]:
    async with TritonStandIn(doubled, g=[1]) as started:
        yield started
