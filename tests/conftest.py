"""Options of the whole suite."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no fault of the code under test.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        type=Path,
        default=Path(__file__).parent / "golden",
        help="folder of reference sets (meta.json, config.json, weights, inputs.npz, outputs.npz) to check models with",
    )
    parser.addoption(
        "--fuzz-cases",
        type=int,
        default=60,
        help="requests, good and bad ones each, that tests make up for every operation of the OpenAPI description",
    )
