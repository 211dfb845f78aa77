"""Where a run computes: device, precision, processes. All of it is accelerate's; this file holds the choices."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from vlp_spec.errors import ConfigError

from vlp_models.training.recipe import ComputeRecipe

logger = logging.getLogger(__name__)
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
# accelerate takes a device of one's choice from nowhere else.
_DEVICE_VARIABLE = "ACCELERATE_TORCH_DEVICE"


@contextmanager
def training_machine(device: str, compute: ComputeRecipe) -> Iterator[Accelerator]:
    """Set up this process, which under `accelerate launch` joins the others; undone at the end.

    Args:
        device: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:N".
        compute: precision and threads.

    Raises:
        ConfigError: a device that is unknown or not there.
    """
    check_device(device)
    threads, chosen_before = torch.get_num_threads(), os.environ.get(_DEVICE_VARIABLE)
    try:
        if ":" in device:
            os.environ[_DEVICE_VARIABLE] = device
        if compute.num_threads:
            torch.set_num_threads(compute.num_threads)
        # Numbers near 0 of trained layer norms and of Adam's moments slow a CPU down several times.
        torch.set_flush_denormal(True)
        accelerator = _build(device, compute.precision)
        _check_processes(accelerator)
        yield accelerator
        accelerator.end_training()
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        torch.set_flush_denormal(False)
        torch.set_num_threads(threads)
        if ":" in device:
            os.environ.pop(_DEVICE_VARIABLE)
            os.environ.update({_DEVICE_VARIABLE: chosen_before} if chosen_before else {})


def _check_processes(accelerator: Accelerator) -> None:
    """Notice that a launcher started one process where several were wanted, which it does without a word."""
    if accelerator.num_processes == 1 and "MASTER_ADDR" in os.environ:
        logger.warning(
            "several processes were announced (MASTER_ADDR is set) and one trains; without MPI, start several on "
            "CPUs with: accelerate launch --multi_gpu --num_processes N -m vlp_cli train RECIPE --device cpu"
        )


def check_device(device: str) -> None:
    """Refuse a device that is unknown or not there.

    Raises:
        ConfigError: says what there is.
    """
    if not _DEVICE.fullmatch(device):
        raise ConfigError([f"device: got {device!r}, expected auto, cpu, cuda or cuda:N"])
    if device.startswith("cuda"):
        count = torch.cuda.device_count()
        if int(device.partition(":")[2] or 0) >= count:
            raise ConfigError([f"device: got {device!r}, this machine has {count} CUDA devices; use --device cpu"])


def _build(device: str, precision: str) -> Accelerator:
    use_cpu = device == "cpu" or (device == "auto" and not torch.cuda.is_available())
    # Heads without a loss in some step would leave the other processes waiting for their gradients.
    handlers = [DistributedDataParallelKwargs(find_unused_parameters=True)]
    return Accelerator(
        cpu=use_cpu, mixed_precision="no" if precision == "fp32" else precision, kwargs_handlers=handlers
    )
