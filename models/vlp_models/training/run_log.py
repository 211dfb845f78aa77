"""What a run tells: log.jsonl, TensorBoard, and a progress bar on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm


class RunLog:
    """Writes the figures of the main process; on the others it does nothing.

    Args:
        run_dir: gets log.jsonl and tensorboard/.
        is_main: whether this process writes.
        first_step: figures of later steps, left by a run that was broken off, are removed.
        total_steps: length of the bar; None where the clock ends the run.
        progress: show the bar.
    """

    def __init__(
        self, run_dir: Path, *, is_main: bool, first_step: int, total_steps: int | None, progress: bool
    ) -> None:
        self._is_main = is_main
        self._bar: tqdm[Any] = tqdm(
            total=total_steps, initial=first_step, unit="step", disable=not (is_main and progress), dynamic_ncols=True
        )
        if not is_main:
            return
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run_dir / "tensorboard"), purge_step=first_step + 1)
        path = run_dir / "log.jsonl"
        kept = _lines_until(path, first_step)
        self._file = path.open("w", encoding="utf-8")
        self._file.writelines(kept)
        self._file.flush()

    def advance(self) -> None:
        """Move the bar by one step."""
        self._bar.update(1)

    def write(self, step: int, figures: Mapping[str, float], *, group: str = "train") -> None:
        """Record figures of a step.

        Args:
            step: steps done.
            figures: name -> value.
            group: "train" or "eval", prefix of the names in TensorBoard.
        """
        if not self._is_main:
            return
        rounded = {name: float(f"{value:.6g}") for name, value in figures.items()}
        self._file.write(json.dumps({"step": step, "group": group, **rounded}) + "\n")
        self._file.flush()
        for name, value in figures.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)
        shown = {name: f"{value:.4g}" for name, value in figures.items()}
        if group == "train":
            self._bar.set_postfix(shown)
        elif not self._bar.disable:
            line = "  ".join(f"{name} {value}" for name, value in shown.items())
            tqdm.write(f"step {step} {group}: {line}", file=sys.stderr)

    def close(self) -> None:
        """Flush and close the files."""
        self._bar.close()
        if self._is_main:
            self._writer.close()
            self._file.close()


def _lines_until(path: Path, step: int) -> list[str]:
    """The whole lines of an earlier log up to `step`; the last line may be torn by a kill."""
    kept = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except (ValueError, KeyError):
                continue
    return kept
