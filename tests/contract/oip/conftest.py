from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from vlp_server.core.settings import CoreSettings, EngineSettings, ModelSettings
from vlp_zoo import zoo_path

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from oip_rig import OipServer

SHIPPED = ("scenes-vilt-vqa", "scenes-blip", "scenes-clip", "scenes-detector")


@pytest.fixture(scope="session")
def shipped_oip() -> Iterator[OipServer]:
    """The shipped models over gRPC."""
    repository, engine = zoo_path() / "repository", EngineSettings(threads=1)
    models = tuple(ModelSettings(reference=name, repository=repository, engine=engine) for name in SHIPPED)
    with OipServer(CoreSettings(models=models)) as server:
        yield server


@pytest.fixture(scope="session")
def dummy_oip() -> Iterator[OipServer]:
    """Dummy models over gRPC."""
    models = tuple(
        ModelSettings(reference=name, engine=EngineSettings(engine="dummy")) for name in ("dummy", "dummy-captioner")
    )
    with OipServer(CoreSettings(models=models, preprocess_threads=1), max_message_bytes=256 * 1024) as server:
        yield server
