from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from server_process import ServerProcess


@pytest.fixture(scope="session")
def dummy_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A real process with the dummy model, shared by tests that leave it as it was."""
    with ServerProcess(tmp_path_factory.mktemp("dummy-server"), "dummy") as server:
        yield server


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A real process with the shipped models, for the pages of the documentation; they fill its collections."""
    with ServerProcess(tmp_path_factory.mktemp("shipped")) as server:
        yield server


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the server's log beside a failure."""
    report = yield
    for name in ("dummy_server", "shipped"):
        server = getattr(item, "funcargs", {}).get(name)
        if report.failed and server is not None:
            report.sections.append((f"log of the server {name}", server.log[-5000:]))
    return report
