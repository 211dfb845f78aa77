"""A module that stands in for `tensorrt`: the names and parameters of the real API, and nothing else.

tests/golden/tensorrt_api/api.json lists the classes, methods with their parameters, properties and enumerations that
the Python bindings of TensorRT 10.3 and 10.16 share, as read from the real modules. A name that is not there raises
AttributeError here, as it would there; a call whose arguments fit no overload raises TypeError. What the listed names
do is played: a plan is the ONNX graph itself, and a run reads and writes memory by address, like the real one.
"""

from __future__ import annotations

import ctypes
import enum
import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

API = json.loads((Path(__file__).parents[1] / "golden" / "tensorrt_api" / "api.json").read_text())
PLAN_MARK = b"plan:"
_NUMPY = {"FLOAT": np.float32, "INT32": np.int32, "UINT8": np.uint8}
_ONNX = {onnx.TensorProto.FLOAT: "FLOAT", onnx.TensorProto.INT32: "INT32", onnx.TensorProto.UINT8: "UINT8"}


class Machine:
    """What the played GPU and parser do; tests change it."""

    def __init__(self) -> None:
        self.has_fp16 = True
        self.parser_faults: list[tuple[str, str, str]] = []
        self.build_fails = False
        self.output_offset = 0.0
        self.run_fails = False
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.cache_matches = True


def make_tensorrt(machine: Machine, version: str = "10.16.1.11") -> types.ModuleType:
    """A fresh module."""
    module = types.ModuleType("tensorrt")
    module.__version__ = version  # type: ignore[attr-defined]
    for name, members in API["enums"].items():
        setattr(module, name, enum.Enum(name, members))
    behaviours = _behaviours(module, machine)
    for name, known in API["classes"].items():
        setattr(module, name, _make_class(name, known, behaviours.get(name, {}), machine))
    severity = enum.Enum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"])
    for member in severity:
        setattr(module.Logger, member.name, member)  # type: ignore[attr-defined]
    return module


def _make_class(name: str, known: dict[str, Any], played: dict[str, Any], machine: Machine) -> type:
    """A class with exactly the listed methods and properties; those without a behaviour say so."""
    unknown = set(played) - set(known["methods"]) - set(known["properties"]) - {"__bytes__"}
    assert not unknown, f"the stand-in plays {name}.{unknown}, which the real API does not have"
    body: dict[str, Any] = {}
    for method, overloads in known["methods"].items():
        body[method] = _make_method(f"{name}.{method}", overloads, played.get(method), machine)
    for prop in known["properties"]:
        body[prop] = property(played[prop]) if prop in played else property(_not_played(f"{name}.{prop}"))
    body.update({key: value for key, value in played.items() if key == "__bytes__"})
    return type(name, (), body)


def _make_method(
    label: str, overloads: list[str], behaviour: Callable[..., Any] | None, machine: Machine
) -> Callable[..., Any]:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not any(_fits(overload.split(), args, kwargs) for overload in overloads):
            raise TypeError(f"{label}: incompatible function arguments {args} {kwargs}; supported: {overloads}")
        machine.calls.append((label, args))
        if behaviour is not None:
            return behaviour(self, *args, **kwargs)
        if label.endswith("__init__"):
            return None
        raise AssertionError(f"{label} is of the real API and not played here")

    return call


def _fits(parameters: list[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    names = [parameter.rstrip("?") for parameter in parameters]
    given = set(names[: len(args)]) | set(kwargs)
    required = {parameter for parameter in parameters if not parameter.endswith("?")}
    return len(args) <= len(names) and set(kwargs) <= set(names[len(args) :]) and required <= given


def _not_played(label: str) -> Callable[[Any], Any]:
    def read(self: Any) -> Any:
        raise AssertionError(f"{label} is of the real API and not played here")

    return read


def _new(module: types.ModuleType, name: str, **state: Any) -> Any:
    """An instance that the API gives out and that nobody constructs; what it remembers is under one private name."""
    instance = object.__new__(getattr(module, name))
    instance._played = types.SimpleNamespace(**state)
    return instance


def _behaviours(module: types.ModuleType, machine: Machine) -> dict[str, dict[str, Any]]:
    return {
        "Builder": _builder(module, machine),
        "INetworkDefinition": {
            "num_inputs": lambda self: len(self._played.model.graph.input),
            "get_input": lambda self, index: _new(module, "ITensor", tensor=self._played.model.graph.input[index].name),
        },
        "ITensor": {"name": lambda self: self._played.tensor},
        "OnnxParser": _parser(module, machine),
        "ParserError": {
            "desc": lambda self: self._played.fault[2],
            "node": lambda self: 7,
            "node_name": lambda self: self._played.fault[0],
            "node_operator": lambda self: self._played.fault[1],
        },
        "IBuilderConfig": _builder_config(module, machine),
        "ITimingCache": {"serialize": lambda self: _new(module, "IHostMemory", content=self._played.content + b"+")},
        "IHostMemory": {"__bytes__": lambda self: self._played.content},
        "IOptimizationProfile": {"set_shape": _set_shape},
        "Runtime": {"deserialize_cuda_engine": lambda self, plan: _load(module, plan)},
        "ICudaEngine": _engine(module),
        "IExecutionContext": _context(machine),
    }


def _builder(module: types.ModuleType, machine: Machine) -> dict[str, Any]:
    def build(self: Any, network: Any, config: Any) -> Any:
        if machine.build_fails:
            return None
        assert len(config._played.profiles) == 1, "a network with dynamic shapes needs a profile"
        content = PLAN_MARK + network._played.model.SerializeToString()
        return _new(module, "IHostMemory", content=content)

    return {
        "create_network": lambda self, flags=0: _new(module, "INetworkDefinition", model=None),
        "create_builder_config": lambda self: _new(module, "IBuilderConfig", flags=set(), profiles=[], pools={}),
        "create_optimization_profile": lambda self: _new(module, "IOptimizationProfile", shapes={}),
        "platform_has_fast_fp16": lambda self: machine.has_fp16,
        "build_serialized_network": build,
    }


def _parser(module: types.ModuleType, machine: Machine) -> dict[str, Any]:
    def init(self: Any, network: Any, logger: Any) -> None:
        self._played = types.SimpleNamespace(network=network)

    def parse(self: Any, model: str) -> bool:
        assert isinstance(model, str), "the real parser takes no Path"
        self._played.network._played.model = onnx.load(model)
        return not machine.parser_faults

    return {
        "__init__": init,
        "parse_from_file": parse,
        "num_errors": lambda self: len(machine.parser_faults),
        "get_error": lambda self, index: _new(module, "ParserError", fault=machine.parser_faults[index]),
    }


def _builder_config(module: types.ModuleType, machine: Machine) -> dict[str, Any]:
    def set_cache(self: Any, cache: Any, ignore_mismatch: bool) -> bool:
        return bool(machine.cache_matches or not cache._played.content)

    def add_profile(self: Any, profile: Any) -> int:
        self._played.profiles.append(profile)
        return len(self._played.profiles) - 1

    return {
        "set_memory_pool_limit": lambda self, pool, pool_size: None,
        "set_flag": lambda self, flag: self._played.flags.add(flag),
        "clear_flag": lambda self, flag: self._played.flags.discard(flag),
        "add_optimization_profile": add_profile,
        "create_timing_cache": lambda self, serialized_timing_cache: _new(
            module, "ITimingCache", content=bytes(serialized_timing_cache)
        ),
        "set_timing_cache": set_cache,
    }


def _set_shape(self: Any, input: str, min: Any, opt: Any, max: Any) -> None:
    assert all(a <= b <= c for a, b, c in zip(min, opt, max, strict=True)), "shapes out of order"
    self._played.shapes[input] = (min, opt, max)


def _load(module: types.ModuleType, plan: bytes) -> Any:
    if not bytes(plan).startswith(PLAN_MARK):
        return None
    model = onnx.load_from_string(bytes(plan).removeprefix(PLAN_MARK))
    return _new(module, "ICudaEngine", model=model)


def _engine(module: types.ModuleType) -> dict[str, Any]:
    def values(self: Any) -> dict[str, Any]:
        return {value.name: value for value in [*self._played.model.graph.input, *self._played.model.graph.output]}

    def mode(self: Any, name: str) -> Any:
        is_input = name in {value.name for value in self._played.model.graph.input}
        return module.TensorIOMode.INPUT if is_input else module.TensorIOMode.OUTPUT  # type: ignore[attr-defined]

    def dtype(self: Any, name: str) -> Any:
        kind = _ONNX[values(self)[name].type.tensor_type.elem_type]
        return module.DataType[kind]  # type: ignore[index]

    def context(self: Any) -> Any:
        session = onnxruntime.InferenceSession(
            self._played.model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        return _new(module, "IExecutionContext", session=session, shapes={}, addresses={})

    return {
        "num_io_tensors": lambda self: len(values(self)),
        "get_tensor_name": lambda self, index: list(values(self))[index],
        "get_tensor_mode": mode,
        "get_tensor_dtype": dtype,
        "create_execution_context": context,
    }


def _context(machine: Machine) -> dict[str, Any]:
    def set_shape(self: Any, name: str, shape: tuple[int, ...]) -> bool:
        self._played.shapes[name] = tuple(shape)
        return name in {value.name for value in self._played.session.get_inputs()}

    def get_shape(self: Any, name: str) -> tuple[int, ...]:
        (output,) = [value for value in self._played.session.get_outputs() if value.name == name]
        return (self._played.shapes["grid"][0], *output.shape[1:])

    def execute(self: Any, stream_handle: int) -> bool:
        if machine.run_fails:
            return False
        feeds = {}
        for value in self._played.session.get_inputs():
            kind = {"tensor(uint8)": "UINT8", "tensor(int32)": "INT32", "tensor(float)": "FLOAT"}[value.type]
            feeds[value.name] = _at(self._played.addresses[value.name], self._played.shapes[value.name], kind).copy()
        for value, result in zip(
            self._played.session.get_outputs(), self._played.session.run(None, feeds), strict=True
        ):
            _at(self._played.addresses[value.name], result.shape, "FLOAT")[...] = result + machine.output_offset
        return True

    def set_address(self: Any, name: str, memory: int) -> bool:
        self._played.addresses[name] = memory
        return True

    return {
        "set_input_shape": set_shape,
        "get_tensor_shape": get_shape,
        "set_tensor_address": set_address,
        "execute_async_v3": execute,
    }


def _at(address: int, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """An array over memory that somebody else owns."""
    dtype = np.dtype(_NUMPY[kind])
    size = int(np.prod(shape)) * dtype.itemsize
    buffer = (ctypes.c_uint8 * size).from_address(address)
    return np.frombuffer(buffer, dtype=dtype).reshape(shape)
