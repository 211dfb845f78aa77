"""Engines by name. A module is imported only when its engine is chosen, so no server loads a run-time it lacks."""

from __future__ import annotations

import importlib
from typing import cast

from vlp_spec.errors import ConfigError

from vlp_server.engines.base import Engine
from vlp_server.engines.settings import EngineSettings

ENGINES: dict[str, tuple[str, str]] = {
    "onnx": ("vlp_server.engines.onnx", "OnnxEngine"),
    "triton": ("vlp_server.engines.triton", "TritonEngine"),
    "dummy": ("vlp_server.engines.dummy", "DummyEngine"),
}


def build_engine(settings: EngineSettings) -> Engine:
    """Make the engine that `settings.engine` names; it holds no graph yet.

    Raises:
        ConfigError: no such engine, its package is not installed, or a device asked for is not there.
    """
    try:
        module_name, class_name = ENGINES[settings.engine]
    except KeyError:
        raise ConfigError([f"engine: {settings.engine!r} is none of {', '.join(sorted(ENGINES))}"]) from None
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError([f"engine {settings.engine!r}: {error.name or error} cannot be imported"]) from error
    return cast(Engine, getattr(module, class_name)(settings))
