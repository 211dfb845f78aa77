"""The training loop. It knows steps and losses, not where data, models or files come from."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor
from vlp_spec.errors import InferenceError

from vlp_models.data.prefetching import Prefetcher
from vlp_models.data.streams import Arrays, BatchStream
from vlp_models.training.averaging import WeightAverage
from vlp_models.training.losses import ObjectiveLosses
from vlp_models.training.optimizer import build_optimizer, set_lr
from vlp_models.training.recipe import Recipe
from vlp_models.training.run_log import RunLog
from vlp_models.training.run_state import RunPosition, RunState, load_state, save_state, saved_steps
from vlp_models.training.schedule import lr_factor
from vlp_models.training.stop_signal import StopSignal

logger = logging.getLogger(__name__)
Validate = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class TrainingOutcome:
    """How a run ended: `is_finished` is false when a signal stopped it before its end."""

    steps: int
    elapsed_s: float
    is_finished: bool


class Trainer:
    """Runs a recipe's optimisation.

    Args:
        recipe: optimisation, checkpoint and evaluation settings are read.
        losses: the model with its objectives; its weights change in place.
        streams: where batches come from; batch k of every stream makes micro-batch k.
        accelerator: device, precision and processes.
        run_dir: gets checkpoints/, tensorboard/ and log.jsonl.
        validate: called on the main process, with the model in evaluation mode (and the weight average applied).
    """

    def __init__(
        self,
        recipe: Recipe,
        losses: ObjectiveLosses,
        streams: Sequence[BatchStream],
        *,
        accelerator: Accelerator,
        run_dir: Path,
        validate: Validate | None = None,
    ) -> None:
        self._recipe, self._streams, self._accelerator = recipe, streams, accelerator
        self._checkpoints_dir, self._run_dir, self._validate = run_dir / "checkpoints", run_dir, validate
        losses.to(accelerator.device)
        self._own = losses  # without the wrapper of several processes
        self._losses = accelerator.prepare_model(losses)
        self._optimizer = build_optimizer(losses.trainable(), recipe.optimisation, losses.head_prefixes)
        decay = recipe.optimisation.ema_decay
        self._average = WeightAverage(losses.model, decay) if decay else None
        self._step, self._earlier_s, self._started = 0, 0.0, time.monotonic()
        self._batch_of: Callable[[int], dict[str, Arrays]] = self._build_batch

    @property
    def _state(self) -> RunState:
        return RunState(self._own, self._optimizer, self._average)

    @property
    def elapsed_s(self) -> float:
        """Seconds of training, earlier sittings included."""
        return self._earlier_s + time.monotonic() - self._started

    def resume(self, folder: Path) -> int:
        """Continue from a checkpoint folder; returns its step."""
        position = load_state(folder, self._state, self._accelerator)
        self._step, self._earlier_s = position.step, position.elapsed_s
        return position.step

    def run(self, *, progress: bool = True) -> TrainingOutcome:
        """Train to the end, or until a signal asks to stop; the state is saved in both cases.

        Raises:
            InferenceError: the loss or its gradient is no finite number.
        """
        optimisation = self._recipe.optimisation
        log = RunLog(
            self._run_dir,
            is_main=self._accelerator.is_main_process,
            first_step=self._step,
            total_steps=optimisation.max_steps or None,
            progress=progress,
        )
        self._started = time.monotonic()
        try:
            with StopSignal() as stop, Prefetcher(self._build_batch) as prefetcher:
                self._batch_of = prefetcher.get
                is_finished = self._loop(stop, log)
            self._save()
        finally:
            self._batch_of = self._build_batch
            log.close()
        return TrainingOutcome(self._step, self.elapsed_s, is_finished)

    def _loop(self, stop: StopSignal, log: RunLog) -> bool:
        meter = _Meter(self._rows_per_step())
        recipe = self._recipe
        self._losses.train()
        while True:
            progress, must_stop = self._agree(stop.requested)
            if progress >= 1 or must_stop:
                return progress >= 1
            plan = recipe.optimisation
            set_lr(self._optimizer, lr_factor(progress, plan.schedule, plan.warmup, plan.decay))
            figures = self.accumulate_gradients()
            norm = self._check_gradients(figures["loss"])
            self._optimizer.step()
            self._own.after_step()
            self._step += 1
            if self._average is not None:
                self._average.update(self._step)
            log.advance()
            meter.add(figures | {"grad_norm": norm})
            if self._step % recipe.log_every == 0:
                lr = self._optimizer.param_groups[0]["lr"]
                log.write(self._step, meter.means() | {"lr": lr, "progress": progress})
            if recipe.evaluation.every and self._step % recipe.evaluation.every == 0:
                self._evaluate(log)
                meter.restart()
            if recipe.checkpoint.every and self._step % recipe.checkpoint.every == 0:
                self._save()

    def accumulate_gradients(self) -> dict[str, Tensor]:
        """One step's forward and backward passes; gradients replace the old ones and are averaged over processes.

        Returns:
            Loss and metrics of this process, detached, each a mean over the micro-batches that have it.
        """
        self._optimizer.zero_grad(set_to_none=True)
        count = self._recipe.optimisation.grad_accumulation
        sums: dict[str, list[Tensor]] = {}
        for micro in range(count):
            number = self._step * count + micro
            batch = {name: self._to_device(arrays) for name, arrays in self._batch_of(number).items()}
            is_last = micro == count - 1
            with nullcontext() if is_last else self._accelerator.no_sync(self._losses):
                figures = self._losses(batch)
                self._accelerator.backward(figures["loss"] / count)
            for name, value in figures.items():
                sums.setdefault(name, []).append(value.detach())
        return {name: torch.stack(values).mean() for name, values in sums.items()}

    def finish(self) -> None:
        """Leave the result in the model: the weight average where there is one."""
        if self._average is not None:
            self._average.apply()

    def _build_batch(self, number: int) -> dict[str, Arrays]:
        return {stream.name: stream.batch(number) for stream in self._streams}

    def _to_device(self, arrays: Arrays) -> dict[str, Tensor]:
        device = self._accelerator.device
        return {name: torch.as_tensor(value).to(device, non_blocking=True) for name, value in arrays.items()}

    def _rows_per_step(self) -> int:
        optimisation = self._recipe.optimisation
        rows = optimisation.batch_size * optimisation.grad_accumulation * self._accelerator.num_processes
        return rows * len(self._streams)

    def _agree(self, wants_stop: bool) -> tuple[float, bool]:
        """Progress (0 to 1) and whether to stop, the same on every process though clocks and signals differ."""
        optimisation = self._recipe.optimisation
        if optimisation.max_steps:
            # The middle of the step: the first one moves the weights, and so does the last.
            done = self._step >= optimisation.max_steps
            progress = 1.0 if done else (self._step + 0.5) / optimisation.max_steps
        else:
            progress = self.elapsed_s / (60.0 * optimisation.max_minutes)
        if self._accelerator.num_processes > 1:
            own = torch.tensor([[progress, float(wants_stop)]], device=self._accelerator.device)
            both = self._accelerator.gather(own).amax(dim=0)
            return float(both[0]), bool(both[1] > 0)
        return progress, wants_stop

    def _check_gradients(self, loss: Tensor) -> Tensor:
        """Clip; refuse what is not finite. The norm is over averaged gradients, so that all processes agree."""
        parameters = list(self._own.trainable().values())
        limit = self._recipe.optimisation.grad_clip or math.inf
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        if not torch.isfinite(norm):
            raise InferenceError(
                f"step {self._step + 1}: loss {float(loss):.6g}, gradient norm {float(norm):.6g}, not finite; the "
                "weights of the last checkpoint are kept. Lower optimisation.lr or optimisation.grad_clip, and "
                'use precision = "fp32" to rule out overflow'
            )
        return norm

    def _evaluate(self, log: RunLog) -> None:
        if self._validate is not None and self._accelerator.is_main_process:
            self._losses.eval()
            with torch.no_grad(), self._average.applied() if self._average else nullcontext():
                log.write(self._step, self._validate(), group="eval")
            self._losses.train()
        self._accelerator.wait_for_everyone()

    def _save(self) -> None:
        if self._step in saved_steps(self._checkpoints_dir):
            return  # the same state; writing it again would only risk it
        position = RunPosition(self._step, self.elapsed_s, self._accelerator.num_processes)
        save_state(self._checkpoints_dir, self._state, position, self._accelerator, self._recipe.checkpoint.keep)
        logger.info("step %d: saved", self._step)


class _Meter:
    """Means of figures since the last report, and rows a second."""

    def __init__(self, rows_per_step: int) -> None:
        self._rows_per_step = rows_per_step
        self._values: dict[str, list[Tensor]] = {}
        self.restart()

    def restart(self) -> None:
        self._since, self._steps = time.monotonic(), 0

    def add(self, figures: Mapping[str, Tensor]) -> None:
        self._steps += 1
        for name, value in figures.items():
            self._values.setdefault(name, []).append(value)

    def means(self) -> dict[str, float]:
        means = {name: float(torch.stack(values).mean()) for name, values in self._values.items()}
        seconds = max(time.monotonic() - self._since, 1e-9)
        means["samples_per_s"] = self._steps * self._rows_per_step / seconds
        self._values = {}
        self.restart()
        return means
