"""Where a run computes: device, precision, processes. All of it is accelerate's; this file holds the choices."""

from __future__ import annotations

import os
import re

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from vlp_spec.errors import ConfigError

from vlp_models.training.recipe import ComputeRecipe

_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


def build_accelerator(device: str, compute: ComputeRecipe) -> Accelerator:
    """Set up this process; under `accelerate launch` it joins the others.

    Args:
        device: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:N".
        compute: precision and threads.

    Raises:
        ConfigError: a device that is unknown or not there.
    """
    if not _DEVICE.fullmatch(device):
        raise ConfigError([f"device: got {device!r}, expected auto, cpu, cuda or cuda:N"])
    if device.startswith("cuda"):
        count = torch.cuda.device_count()
        if int(device.partition(":")[2] or 0) >= count:
            raise ConfigError([f"device: got {device!r}, this machine has {count} CUDA devices; use --device cpu"])
        if ":" in device:
            # accelerate takes a device of one's choice from nowhere else.
            os.environ["ACCELERATE_TORCH_DEVICE"] = device
    if compute.num_threads:
        torch.set_num_threads(compute.num_threads)
    # Numbers near 0 of trained layer norms and of Adam's moments slow a CPU down several times.
    torch.set_flush_denormal(True)
    precision = "no" if compute.precision == "fp32" else compute.precision
    use_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    AcceleratorState._reset_state()
    # Heads without a loss in some step would leave the other processes waiting for their gradients.
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=True)]
    return Accelerator(cpu=use_cpu, mixed_precision=precision, kwargs_handlers=handlers)
