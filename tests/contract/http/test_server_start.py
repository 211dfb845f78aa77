from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from vlp_server.config import AccessConfig, HttpConfig, ServerConfig
from vlp_server.core.records import ModelCard, ModelState, Readiness
from vlp_server.http.server import HttpServer, bind, write_ready_file
from vlp_spec.errors import ConfigError, StartupError


class Lifecycle:
    """Gives the scripted service the rest of the service's life."""

    def __init__(self, scripted: Any, readiness: Readiness, cards: list[ModelCard] | None = None) -> None:
        self._scripted = scripted
        self._readiness = readiness
        self._cards = cards
        self.events: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scripted, name)

    async def start(self) -> None:
        self.events.append("start")

    async def wait_ready(self, timeout_s: float) -> Readiness:
        return self._readiness

    def models(self) -> list[ModelCard]:
        cards: list[ModelCard] = self._scripted.models()
        return cards if self._cards is None else self._cards

    async def drain(self, timeout_s: float) -> bool:
        self.events.append("drain")
        return True

    async def close(self) -> None:
        self.events.append("close")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ready_file_then_signal_then_drain(number: int, scripted: Any, tmp_path: Path) -> None:
    ready_file = tmp_path / "ready.json"
    service = Lifecycle(scripted, Readiness(True, {}))
    announced: list[str] = []

    def announce(address: str) -> None:
        announced.append(address)
        content = json.loads(ready_file.read_text())
        assert content["pid"] == os.getpid()
        assert address == f"http://127.0.0.1:{content['http_port']}"
        signal.raise_signal(number)

    config = ServerConfig(ready_file=ready_file, http=HttpConfig(port=0, drain_timeout_s=1))
    before = signal.getsignal(number)
    HttpServer(service, config, announce).run()  # type: ignore[arg-type]
    assert len(announced) == 1
    assert service.events == ["start", "drain", "close"]
    assert not ready_file.exists()
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(
    ("host", "access", "warnings"),
    [
        ("127.0.0.1", AccessConfig(), 0),
        ("localhost", AccessConfig(), 0),
        ("0.0.0.0", AccessConfig(), 1),
        ("0.0.0.0", AccessConfig(keys=(f"laptop:read:{'a' * 64}",)), 0),
    ],
)
def test_an_open_server_on_the_network_is_warned_of_once(
    host: str, access: AccessConfig, warnings: int, scripted: Any, caplog: pytest.LogCaptureFixture
) -> None:
    config = ServerConfig(access=access, http=HttpConfig(host=host, port=0, drain_timeout_s=1))
    service = Lifecycle(scripted, Readiness(True, {}))
    with caplog.at_level(logging.WARNING):
        HttpServer(service, config, lambda _: signal.raise_signal(signal.SIGTERM)).run()  # type: ignore[arg-type]
    assert caplog.text.count("no API keys are set") == warnings


class LoadsWhileStopping(Lifecycle):
    """Is ready just after the signal has come."""

    async def wait_ready(self, timeout_s: float) -> Readiness:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)  # the server ends meanwhile, and closes its socket
        return Readiness(True, {})


def test_a_signal_while_models_load_ends_the_server_in_order(scripted: Any, tmp_path: Path) -> None:
    ready_file = tmp_path / "ready.json"
    service = LoadsWhileStopping(scripted, Readiness(True, {}))
    config = ServerConfig(ready_file=ready_file, http=HttpConfig(port=0, drain_timeout_s=1))
    HttpServer(service, config, pytest.fail).run()  # type: ignore[arg-type]
    assert service.events == ["start", "drain", "close"]
    assert not ready_file.exists()


def test_a_model_that_cannot_be_served_ends_the_start(scripted: Any) -> None:
    failed = ModelCard(
        name="broken",
        version=None,
        tasks=(),
        precision=None,
        family=None,
        limits={},
        state=ModelState.FAILED,
        reason="digest of model.onnx does not match",
        default=True,
    )
    service = Lifecycle(scripted, Readiness(False, {"broken": failed.reason}), [failed])
    config = ServerConfig(http=HttpConfig(port=0))
    with pytest.raises(StartupError, match="broken: digest of model.onnx does not match"):
        HttpServer(service, config, pytest.fail).run()  # type: ignore[arg-type]
    assert service.events == ["start", "drain", "close"]


def test_a_port_that_is_taken_is_told() -> None:
    with bind("127.0.0.1", 0) as taken, pytest.raises(ConfigError, match="cannot listen on 127.0.0.1 port"):
        bind("127.0.0.1", taken.getsockname()[1])


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(ConfigError, match="cannot listen on 192.0.2.1 port 0"):
        bind("192.0.2.1", 0)
    with pytest.raises(ConfigError, match="cannot listen on 2001:db8::1 port 0"):
        bind("2001:db8::1", 0)


def test_the_ready_file_is_whole_or_absent(tmp_path: Path) -> None:
    write_ready_file(tmp_path / "ready.json", "127.0.0.1", 81)
    assert json.loads((tmp_path / "ready.json").read_text())["http_port"] == 81
    assert [path.name for path in tmp_path.iterdir()] == ["ready.json"]
    with pytest.raises(ConfigError, match="ready_file: cannot write"):
        write_ready_file(tmp_path / "missing" / "ready.json", "127.0.0.1", 81)
