"""`vlpserve recall`: how well an encoder finds pictures by words and the other way, alone and with a second stage."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from vlp_zoo import zoo_path

from vlp_cli.table import format_table

if TYPE_CHECKING:
    import numpy as np
    from vlp_models.data.sources import RawPicture
    from vlp_models.evaluation.retrieval import RecallFigures

_HEAD = ("direction", "R@1", "R@5", "R@10", "ceiling")


@click.command()
@click.argument("model")
@click.option("--repository", type=click.Path(path_type=Path), help="Whose deployments these are; default the shipped.")
@click.option("--data", "root", type=click.Path(path_type=Path, exists=True), required=True, help="Data set folder.")
@click.option("--split", default="test", show_default=True, help="Split that is searched.")
@click.option("--pictures", type=click.IntRange(1), default=1000, show_default=True, help="Its first so many pictures.")
@click.option("--rerank", "matcher", help="Deployment that looks at the first hits of words again.")
@click.option("--candidates", type=click.IntRange(1), default=20, show_default=True, help="At how many of them.")
@click.option("--queries", type=click.IntRange(1), help="Show a matcher only the first so many captions.")
@click.option(
    "--regions", type=click.Path(path_type=Path, exists=True), help="A matcher's region features, not of an extractor."
)
@click.option(
    "--as-published", is_flag=True, help="Also count own captions alone, rightly and as UNITER's script does."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def recall(  # noqa: PLR0913 - one parameter an option
    model: str,
    repository: Path | None,
    root: Path,
    split: str,
    pictures: int,
    matcher: str | None,
    candidates: int,
    queries: int | None,
    regions: Path | None,
    as_published: bool,
    as_json: bool,
) -> None:
    """Measure the deployment MODEL on pictures with captions: an encoder, or a matcher, which looks at every pair.

    A hit is any picture of which the caption is true, as far as the data set knows; chance is what a random order would
    reach, the ceiling what a perfect one would.
    """
    from vlp_models.data.faults import FaultCounter
    from vlp_models.data.sources import open_source
    from vlp_models.evaluation.published_recall import published_recall
    from vlp_models.evaluation.retrieval import captions_of_records, recall_figures, truth_of
    from vlp_spec.found_deployment import find_deployment
    from vlp_spec.tasks import Task

    place = zoo_path() / "repository" if repository is None else repository
    tasks = find_deployment(place, model).deployment.tasks
    is_matcher = Task.MATCH in tasks and Task.EMBEDDINGS not in tasks
    if is_matcher and matcher is not None:
        raise click.UsageError("--rerank: MODEL looks at every pair already")
    faults = FaultCounter(split)
    raw = list(itertools.islice(open_source(root, split, "auto").read(faults), pictures))
    faults.check(len(raw))
    records = [one.record for one in raw]
    captions, _ = captions_of_records(records)
    if not captions:
        raise click.UsageError(f"--data: the first {len(raw)} pictures of split {split!r} have no captions")
    asked = Asked(place, raw, captions[:queries] if is_matcher else captions, regions, as_json)
    name, scores = _every_pair(asked, model) if is_matcher else _two_towers(asked, model)
    truth = truth_of(records, captions)[: len(asked.captions)]
    figures = {
        "words -> pictures": recall_figures(scores, truth),
        "pictures -> words": recall_figures(scores.T, truth.T),
    }
    if matcher is not None:
        some = slice(0, queries)
        if queries is not None:
            figures["the same queries, one stage"] = recall_figures(scores[some], truth[some])
        second, again = _look_again(asked, matcher, scores[some], truth[some], candidates)
        figures[f"words -> pictures, first {candidates} by {second}"] = again
    published = published_recall(scores, records, asked.captions) if as_published else {}
    if as_json:
        plain = {what: _plain(one) for what, one in figures.items()}
        click.echo(json.dumps(plain | {what: {"recall": shares} for what, shares in published.items()}, indent=1))
        return
    click.echo(f"{name} on {len(raw)} pictures of split {split!r} with {len(asked.captions)} captions")
    rows = [row for what, one in figures.items() for row in _rows(what, one)]
    rows += [(what, *(f"{share:.1%}" for share in shares.values()), "") for what, shares in published.items()]
    click.echo(format_table(_HEAD, rows))


@dataclass(frozen=True, slots=True)
class Asked:
    """What is searched, for what, and where the deployments lie.

    Attributes:
        regions: a store of regions for a matcher that reads them.
        quiet: show no bar.
    """

    place: Path
    pictures: Sequence[RawPicture]
    captions: Sequence[str]
    regions: Path | None
    quiet: bool


def _two_towers(asked: Asked, encoder: str) -> tuple[str, np.ndarray]:
    """name@version, and (captions, pictures) scores."""
    from tqdm import tqdm
    from vlp_models.evaluation.retrieval_artefacts import EncoderGraphs

    graphs = EncoderGraphs(asked.place, encoder)
    images = [one.image for one in asked.pictures]
    with tqdm(total=len(images) + len(asked.captions), unit="item", disable=asked.quiet) as bar:

        def watch(done: int) -> None:
            bar.update(done)

        return graphs.name, graphs.embed_texts(asked.captions, watch) @ graphs.embed_images(images, watch).T


def _every_pair(asked: Asked, matcher: str) -> tuple[str, np.ndarray]:
    """name@version, and (captions, pictures) scores."""
    from tqdm import tqdm
    from vlp_models.evaluation.retrieval_artefacts import MatcherGraph

    graph = MatcherGraph(asked.place, matcher, asked.pictures, asked.regions)
    with tqdm(total=len(asked.captions), unit="caption", disable=asked.quiet) as bar:

        def watch(done: int) -> None:
            bar.update(done)

        return graph.name, graph.all_scores(asked.captions, watch)


def _look_again(
    asked: Asked, matcher: str, scores: np.ndarray, truth: np.ndarray, candidates: int
) -> tuple[str, RecallFigures]:
    """The second stage: its name@version and its figures, for as many of the captions as there are scores."""
    from tqdm import tqdm
    from vlp_models.evaluation.retrieval import figures_of_ranking, rerank_hits
    from vlp_models.evaluation.retrieval_artefacts import MatcherGraph

    second = MatcherGraph(asked.place, matcher, asked.pictures, asked.regions)
    with tqdm(total=len(scores), unit="query", disable=asked.quiet) as bar:

        def look(query: int, found: np.ndarray) -> np.ndarray:
            bar.update()
            return second.scores(asked.captions[query], found)

        hits = rerank_hits(scores, truth, look, candidates)
    return second.name, figures_of_ranking(hits, truth)


def _rows(name: str, figures: RecallFigures) -> list[tuple[str, ...]]:
    return [
        (name, *(f"{figures.recall[k]:.1%}" for k in figures.recall), f"{figures.ceiling:.1%}"),
        ("  by chance", *(f"{figures.chance[k]:.1%}" for k in figures.chance), ""),
    ]


def _plain(figures: RecallFigures) -> dict[str, object]:
    return {"recall": dict(figures.recall), "chance": dict(figures.chance), "ceiling": figures.ceiling}
