"""`vlpserve scenes`: write the built-in data set."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--train", type=click.IntRange(min=0), default=40_000, show_default=True, help="Training pictures.")
@click.option("--val", type=click.IntRange(min=0), default=1000, show_default=True, help="Validation pictures.")
@click.option("--test", type=click.IntRange(min=0), default=2000, show_default=True, help="Test pictures.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--shard-size", type=click.IntRange(min=0), default=0, help="Pictures a WebDataset shard; 0: files.")
@click.option(
    "--gallery", is_flag=True, help="Pictures in pairs, half of them with covered places, with sentences to judge."
)
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Processes that draw.")
def scenes(
    *, root: Path, train: int, val: int, test: int, seed: int, shard_size: int, gallery: bool, workers: int
) -> None:
    """Draw the scenes and write them under ROOT: pictures, captions, questions, boxes.

    With --gallery also hypotheses to be judged by a picture, statements on two pictures, and phrases with their boxes.
    """
    from tqdm import tqdm
    from vlp_models.scenes.dataset import ScenesConfig, write_scenes

    config = ScenesConfig({"train": train, "val": val, "test": test}, seed, shard_size, workers, gallery)
    with tqdm(total=train + val + test, unit="picture") as bar:

        def advance(split: str, done: int, count: int) -> None:
            bar.update()

        write_scenes(root, config, advance)
