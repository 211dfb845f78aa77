"""Make tests/support importable: tests are imported one by one, not as packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from vlp_server.index.local import LocalStore

sys.path.insert(0, str(Path(__file__).parents[3] / "support"))

from vector_items import SMALL


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    opened = LocalStore(tmp_path / "store", SMALL)
    yield opened
    opened.close()
