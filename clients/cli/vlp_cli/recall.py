"""`vlpserve recall`: how well an encoder finds pictures by words and the other way, alone and with a second stage."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from vlp_zoo import zoo_path

from vlp_cli.table import format_table

if TYPE_CHECKING:
    import numpy as np
    from vlp_models.evaluation.retrieval import RecallFigures

_HEAD = ("direction", "R@1", "R@5", "R@10", "ceiling")


@click.command()
@click.argument("encoder")
@click.option("--repository", type=click.Path(path_type=Path), help="Whose deployments these are; default the shipped.")
@click.option("--data", "root", type=click.Path(path_type=Path, exists=True), required=True, help="Data set folder.")
@click.option("--split", default="test", show_default=True, help="Split that is searched.")
@click.option("--pictures", type=click.IntRange(1), default=1000, show_default=True, help="Its first so many pictures.")
@click.option("--rerank", "matcher", help="Deployment that looks at the first hits of words again.")
@click.option("--candidates", type=click.IntRange(1), default=20, show_default=True, help="At how many of them.")
@click.option("--queries", type=click.IntRange(1), help="Re-rank only the first so many captions.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def recall(  # noqa: PLR0913 - one parameter an option
    encoder: str,
    repository: Path | None,
    root: Path,
    split: str,
    pictures: int,
    matcher: str | None,
    candidates: int,
    queries: int | None,
    as_json: bool,
) -> None:
    """Measure the deployment ENCODER on pictures with captions.

    A hit is any picture of which the caption is true, as far as the data set knows; chance is what a random order would
    reach, the ceiling what a perfect one would.
    """
    from tqdm import tqdm
    from vlp_models.data.faults import FaultCounter
    from vlp_models.data.sources import open_source
    from vlp_models.evaluation.retrieval import captions_of_records, recall_figures, truth_of
    from vlp_models.evaluation.retrieval_artefacts import EncoderGraphs

    place = zoo_path() / "repository" if repository is None else repository
    faults = FaultCounter(split)
    raw = list(itertools.islice(open_source(root, split, "auto").read(faults), pictures))
    faults.check(len(raw))
    records, images = [one.record for one in raw], [one.image for one in raw]
    captions, _ = captions_of_records(records)
    graphs = EncoderGraphs(place, encoder)
    with tqdm(total=len(images) + len(captions), unit="item", disable=as_json) as bar:

        def watch(done: int) -> None:
            bar.update(done)

        scores = graphs.embed_texts(captions, watch) @ graphs.embed_images(images, watch).T
    truth = truth_of(records, captions)
    figures = {
        "words -> pictures": recall_figures(scores, truth),
        "pictures -> words": recall_figures(scores.T, truth.T),
    }
    if matcher is not None:
        some = slice(0, queries)
        if queries is not None:
            figures["the same queries, one stage"] = recall_figures(scores[some], truth[some])
        name, again = _look_again(place, matcher, images, captions, scores[some], truth[some], candidates, as_json)
        figures[f"words -> pictures, first {candidates} by {name}"] = again
    if as_json:
        click.echo(json.dumps({name: _plain(one) for name, one in figures.items()}, indent=1))
        return
    click.echo(f"{graphs.name} on {len(images)} pictures of split {split!r} with {len(captions)} captions")
    click.echo(format_table(_HEAD, [row for name, one in figures.items() for row in _rows(name, one)]))


def _look_again(
    place: Path,
    matcher: str,
    images: Sequence[bytes],
    captions: Sequence[str],
    scores: np.ndarray,
    truth: np.ndarray,
    candidates: int,
    quiet: bool,
) -> tuple[str, RecallFigures]:
    """The second stage: its name@version and its figures, for as many of the captions as there are scores."""
    from tqdm import tqdm
    from vlp_models.evaluation.retrieval import figures_of_ranking, rerank_hits
    from vlp_models.evaluation.retrieval_artefacts import MatcherGraph

    second = MatcherGraph(place, matcher, images)
    with tqdm(total=len(scores), unit="query", disable=quiet) as bar:

        def look(query: int, found: np.ndarray) -> np.ndarray:
            bar.update()
            return second.scores(captions[query], found)

        hits = rerank_hits(scores, truth, look, candidates)
    return second.name, figures_of_ranking(hits, truth)


def _rows(name: str, figures: RecallFigures) -> list[tuple[str, ...]]:
    return [
        (name, *(f"{figures.recall[k]:.1%}" for k in figures.recall), f"{figures.ceiling:.1%}"),
        ("  by chance", *(f"{figures.chance[k]:.1%}" for k in figures.chance), ""),
    ]


def _plain(figures: RecallFigures) -> dict[str, object]:
    return {"recall": dict(figures.recall), "chance": dict(figures.chance), "ceiling": figures.ceiling}
