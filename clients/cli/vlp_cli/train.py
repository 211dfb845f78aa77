"""`vlpserve train`: run a training recipe."""

from __future__ import annotations

import logging
from pathlib import Path

import click


@click.command()
@click.argument("recipe")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--out", "out_dir", type=click.Path(path_type=Path), help="Run folder; default runs/<recipe's name>.")
@click.option("--resume", is_flag=True, help="Continue from the newest checkpoint in the run folder.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override, such as data.root=scenes.")
@click.option("--progress/--no-progress", default=True, show_default=True, help="Progress bar on standard error.")
def train(
    recipe: str, device: str, out_dir: Path | None, resume: bool, overrides: tuple[str, ...], progress: bool
) -> None:
    """Train a model by RECIPE, a TOML file or the name of a shipped recipe.

    Several GPUs: accelerate launch --multi_gpu --num_processes N -m vlp_cli train RECIPE (with --device cpu the same
    on CPUs). batch_size is that of one process. SIGTERM saves and stops; --resume continues exactly where it was.
    """
    from vlp_models.training.recipe_file import load_recipe
    from vlp_models.training.run import RunOptions, run_training

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    loaded = load_recipe(recipe, overrides)
    options = RunOptions(out_dir or Path("runs") / loaded.name, device, resume, progress)
    outcome = run_training(loaded, options)
    ending = f"finished: {options.out_dir / 'final'}" if outcome.is_finished else "stopped; continue with --resume"
    click.echo(f"step {outcome.steps}, {outcome.elapsed_s:.0f} s, {ending}", err=True)
