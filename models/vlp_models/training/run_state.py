"""Resumable checkpoints of a run: folders that exist whole or not at all.

`checkpoints/step-N/` holds weights.safetensors, optimizer.pt (optimizer, weight average, and the objectives' own
state), rng-R.pt of every process R, and state.json. Everything else of a run (batches, masks, false pictures) follows
from the step's number.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from vlp_spec.errors import ArtifactError, ConfigError
from vlp_spec.files import sync_path, write_synced

from vlp_models.training.averaging import WeightAverage
from vlp_models.training.losses import ObjectiveLosses

_STATE = "state.json"


@dataclass(frozen=True)
class RunPosition:
    """Where a run stands.

    Attributes:
        step: optimizer steps done.
        elapsed_s: seconds of training so far, over all sittings.
        processes: how many processes train.
    """

    step: int
    elapsed_s: float
    processes: int


@dataclass(frozen=True)
class RunState:
    """The parts whose state is kept."""

    losses: ObjectiveLosses
    optimizer: torch.optim.Optimizer
    average: WeightAverage | None


def saved_steps(checkpoints_dir: Path) -> list[int]:
    """Steps of the whole checkpoints, ascending."""
    names = [path.name.removeprefix("step-") for path in checkpoints_dir.glob("step-*") if (path / _STATE).is_file()]
    return sorted(int(name) for name in names if name.isdigit())


def save_state(
    checkpoints_dir: Path, state: RunState, position: RunPosition, accelerator: Accelerator, keep: int
) -> Path:
    """Write `step-N`, then remove all but the newest `keep`; every process takes part."""
    final = checkpoints_dir / f"step-{position.step}"
    temporary = checkpoints_dir / f".step-{position.step}.unfinished"
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    accelerator.wait_for_everyone()
    _save_synced(_rng_state(), temporary / f"rng-{accelerator.process_index}.pt")
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        # Copies: two parts of a model may have weights in common, which safetensors refuses.
        tensors = {
            name: value.detach().to("cpu", copy=True).contiguous()
            for name, value in state.losses.model.state_dict().items()
        }
        save_file(tensors, temporary / "weights.safetensors")
        sync_path(temporary / "weights.safetensors")
        average = state.average.shadow if state.average else {}
        rest = {"optimizer": state.optimizer.state_dict(), "average": average, "objectives": state.losses.own_state()}
        _save_synced(rest, temporary / "optimizer.pt")
        write_synced(temporary / _STATE, json.dumps(asdict(position)))
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        sync_path(checkpoints_dir)
        for step in saved_steps(checkpoints_dir)[:-keep]:
            shutil.rmtree(checkpoints_dir / f"step-{step}")
    accelerator.wait_for_everyone()
    return final


def load_state(folder: Path, state: RunState, accelerator: Accelerator) -> RunPosition:
    """Restore weights, optimizer, average and random numbers from `folder`.

    Raises:
        ArtifactError: files are missing or do not fit the model.
        ConfigError: another number of processes.
    """
    try:
        position = RunPosition(**json.loads((folder / _STATE).read_text(encoding="utf-8")))
        if position.processes != accelerator.num_processes:
            raise ConfigError(
                [
                    f"resume: {folder} was written by {position.processes} processes, this run has "
                    f"{accelerator.num_processes}; start as many"
                ]
            )
        state.losses.model.load_state_dict(load_file(folder / "weights.safetensors"))
        saved: dict[str, Any] = torch.load(folder / "optimizer.pt", map_location="cpu", weights_only=True)
        state.optimizer.load_state_dict(saved["optimizer"])
        state.losses.load_own_state(saved.get("objectives", {}))
        if state.average is not None:
            for name, value in saved["average"].items():
                state.average.shadow[name].copy_(value)
        rng_file = folder / f"rng-{accelerator.process_index}.pt"
        _set_rng_state(torch.load(rng_file, map_location="cpu", weights_only=True))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ArtifactError(f"checkpoint {folder}: cannot be resumed from ({error!s:.300})") from error
    return position


def _rng_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def _set_rng_state(state: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def _save_synced(value: Any, path: Path) -> None:
    torch.save(value, path)
    sync_path(path)
