"""Make tests/support importable: tests are imported one by one, not as packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from vlp_server.index.local import LocalStore
from vlp_server.index.settings import StoreSettings

sys.path.insert(0, str(Path(__file__).parents[3] / "support"))

# Indexes are built at a size that tests can have.
SMALL = StoreSettings(tail_items=100, tail_share=0.0, dead_share=0.2, build_threads=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    opened = LocalStore(tmp_path / "store", SMALL)
    yield opened
    opened.close()
