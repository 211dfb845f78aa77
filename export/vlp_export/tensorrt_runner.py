"""Running a TensorRT engine for the proof, with torch for the GPU's memory and stream.

A plan that has not run is not published: building can succeed and precision still be lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from vlp_models.evaluation.onnx_runner import Runner
from vlp_spec.errors import ArtifactError
from vlp_spec.tensors import TensorSpec

from vlp_export.tensorrt_engine import load_tensorrt


def engine_runner(plan: bytes, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Runner:
    """Load an engine on the current GPU.

    Args:
        plan: of `build_engine`.
        inputs: what the engine takes.
        outputs: what it gives.

    Raises:
        ArtifactError: TensorRT or a GPU is missing, or the engine was built for another GPU, version or interface.
    """
    trt = load_tensorrt()
    device = _cuda()
    logger = trt.Logger(trt.Logger.WARNING)
    runtime = trt.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise ArtifactError("TensorRT cannot load the engine it built; its log says why")
    _check_interface(trt, engine, inputs, outputs)
    context = engine.create_execution_context()
    if context is None:
        raise ArtifactError("TensorRT cannot make an execution context; is there enough GPU memory?")
    return _EngineRunner(engine, context, device, [spec.name for spec in outputs])


class _EngineRunner:
    """One execution context; one run at a time."""

    def __init__(self, engine: Any, context: Any, device: Any, outputs: Sequence[str]) -> None:
        # The engine must outlive its context.
        self._engine, self._context, self._device, self._outputs = engine, context, device, tuple(outputs)

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        import torch

        buffers = {}
        for name, value in feeds.items():
            # A CUDA tensor must stay referenced until the run is over: TensorRT sees its address alone.
            buffers[name] = torch.from_numpy(np.ascontiguousarray(value)).to(self._device)
            if not self._context.set_input_shape(name, tuple(value.shape)):
                raise ArtifactError(f"engine input {name!r}: shape {value.shape} is outside its profile")
        for name in self._outputs:
            shape = tuple(self._context.get_tensor_shape(name))
            buffers[name] = torch.empty(shape, dtype=torch.float32, device=self._device)
        for name, buffer in buffers.items():
            self._context.set_tensor_address(name, buffer.data_ptr())
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        # Copies were queued on the current stream; the engine must not start before they are done.
        stream.wait_stream(torch.cuda.current_stream(self._device))
        if not self._context.execute_async_v3(stream.cuda_stream):
            raise ArtifactError("TensorRT failed to run the engine; its log says why")
        stream.synchronize()
        return {name: buffers[name].cpu().numpy() for name in self._outputs}


def _check_interface(trt: Any, engine: Any, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    modes = {}
    for number in range(engine.num_io_tensors):
        name = engine.get_tensor_name(number)
        modes[name] = engine.get_tensor_mode(name)
    expected = {spec.name: trt.TensorIOMode.INPUT for spec in inputs}
    expected |= {spec.name: trt.TensorIOMode.OUTPUT for spec in outputs}
    if modes != expected:
        raise ArtifactError(f"engine tensors are {sorted(modes)}, expected {sorted(expected)}")
    for spec in outputs:
        if engine.get_tensor_dtype(spec.name) != trt.DataType.FLOAT:
            raise ArtifactError(
                f"engine output {spec.name!r}: expected float32, got {engine.get_tensor_dtype(spec.name)}"
            )


def _cuda() -> Any:
    import torch

    if not torch.cuda.is_available():
        raise ArtifactError(
            "an engine is proved by running it, and torch sees no CUDA GPU here; export on the machine that will "
            "serve, with a CUDA build of torch"
        )
    return torch.device("cuda")
