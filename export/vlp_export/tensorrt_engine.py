"""An ONNX graph -> a TensorRT engine (model.plan), by the Python API of TensorRT 10.

TensorRT is imported when an engine is built, not before. An engine runs on the kind of GPU and the TensorRT version
that it was built with only, so it is built where it will serve. This file was written against the API's names and
signatures (10.3 to 10.16) and is tested against a stand-in that knows nothing else: no engine has been built by its
authors.

Version 11 is refused: it dropped the precision flags (every network is strongly typed there).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from vlp_spec.errors import ArtifactError

from vlp_export.tensorrt_profile import ProfileShapes

PRECISION_FLAGS = {"fp32": None, "fp16": "FP16", "bf16": "BF16"}
_MAJOR = 10
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How an engine is built.

    Attributes:
        precision: "fp32" (TensorFloat-32 off), "fp16" or "bf16".
        workspace_bytes: memory that a kernel may use while the engine runs.
        timing_cache: file of kernel timings, read and written; a second build on the same GPU takes a fraction of the
            time. None for no cache.
    """

    precision: str = "fp16"
    workspace_bytes: int = 4 * _GIB
    timing_cache: Path | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISION_FLAGS:
            raise ArtifactError(
                f"precision {self.precision!r}: a TensorRT engine takes {', '.join(PRECISION_FLAGS)}; the int8 graph "
                "is for onnxruntime (TensorRT's parser has no MatMulInteger)"
            )


def load_tensorrt() -> ModuleType:
    """Import TensorRT 10.

    Raises:
        ArtifactError: it is not installed, cannot be loaded, or is of another major version.
    """
    try:
        trt = importlib.import_module("tensorrt")
    except (ImportError, OSError) as error:
        raise ArtifactError(
            "TensorRT is not installed here; on the machine with the GPU that will serve: "
            f"pip install 'vlpserve[export,tensorrt]' ({error})"
        ) from error
    version = str(trt.__version__)
    if version.split(".")[0] != str(_MAJOR):
        raise ArtifactError(
            f"TensorRT {version} is installed, this exporter uses version {_MAJOR}: pip install 'tensorrt<11'"
        )
    return trt


def build_engine(onnx_file: Path, profile: Mapping[str, ProfileShapes], settings: EngineSettings) -> bytes:
    """Build an engine.

    Args:
        onnx_file: the float32 graph.
        profile: input name -> shapes, for every input of the graph.
        settings: precision, memory, timing cache.

    Returns:
        The serialized engine, as TensorRT's runtime and Triton read it.

    Raises:
        ArtifactError: TensorRT is missing, cannot read the graph (every complaint of its parser is listed), does not
            have this precision on this GPU, or fails to build.
    """
    trt = load_tensorrt()
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    # Explicit batch is the only kind of network in version 10; no flag asks for it.
    network = builder.create_network()
    _parse(trt, network, logger, onnx_file)
    _check_inputs(network, profile)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_bytes)
    _set_precision(trt, builder, config, settings.precision)
    config.add_optimization_profile(_make_profile(builder, profile))
    cache = _read_timing_cache(config, settings.timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ArtifactError(f"TensorRT could not build an engine from {onnx_file.name}; its log says why")
    _write_timing_cache(cache, settings.timing_cache)
    return bytes(plan)


def _parse(trt: Any, network: Any, logger: Any, onnx_file: Path) -> None:
    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(onnx_file)):
        return
    faults = [parser.get_error(number) for number in range(parser.num_errors)]
    listing = [
        f"  node {fault.node_name() or fault.node()} ({fault.node_operator()}): {fault.desc()}" for fault in faults
    ]
    raise ArtifactError("\n".join([f"TensorRT cannot read {onnx_file.name}:", *listing]))


def _check_inputs(network: Any, profile: Mapping[str, ProfileShapes]) -> None:
    names = {network.get_input(number).name for number in range(network.num_inputs)}
    if names != set(profile):
        raise ArtifactError(f"graph inputs are {sorted(names)}, the deployment's are {sorted(profile)}")


def _set_precision(trt: Any, builder: Any, config: Any, precision: str) -> None:
    flag = PRECISION_FLAGS[precision]
    if flag is None:
        # On by default, and worth three decimal digits: fp32 here means what the proof's bound for fp32 means.
        config.clear_flag(trt.BuilderFlag.TF32)
        return
    if flag == "FP16" and not builder.platform_has_fast_fp16:
        raise ArtifactError("this GPU has no fast fp16; build with --precision fp32")
    config.set_flag(getattr(trt.BuilderFlag, flag))


def _make_profile(builder: Any, profile: Mapping[str, ProfileShapes]) -> Any:
    result = builder.create_optimization_profile()
    for name, shapes in profile.items():
        result.set_shape(name, shapes.min, shapes.opt, shapes.max)
    return result


def _read_timing_cache(config: Any, path: Path | None) -> Any | None:
    if path is None:
        return None
    content = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(content)
    # A cache of another GPU or version is not used (no mismatch is ignored): the build then starts a new one.
    if not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _write_timing_cache(cache: Any | None, path: Path | None) -> None:
    if cache is None or path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    draft.write_bytes(bytes(cache.serialize()))
    draft.replace(path)
