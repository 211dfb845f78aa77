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
_BY_WORDS, _BY_PICTURES = "words -> pictures", "pictures -> words"


@click.command()
@click.argument("model")
@click.option("--repository", type=click.Path(path_type=Path), help="Whose deployments these are; default the shipped.")
@click.option("--data", "root", type=click.Path(path_type=Path, exists=True), required=True, help="Data set folder.")
@click.option("--split", default="test", show_default=True, help="Split that is searched.")
@click.option("--pictures", type=click.IntRange(1), default=1000, show_default=True, help="Its first so many pictures.")
@click.option("--every-pair", is_flag=True, help="Show MODEL every pair, though it makes vectors, too.")
@click.option("--rerank", "matcher", help="Deployment, MODEL or another, that looks at the first hits of words again.")
@click.option("--candidates", type=click.IntRange(1), default=20, show_default=True, help="At how many of them.")
@click.option("--both-ways", is_flag=True, help="Let it look at the first captions of each picture, too.")
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
    every_pair: bool,
    matcher: str | None,
    candidates: int,
    both_ways: bool,
    queries: int | None,
    regions: Path | None,
    as_published: bool,
    as_json: bool,
) -> None:
    """Measure the deployment MODEL on pictures with captions: an encoder, or a matcher, which looks at every pair.

    A hit is any picture of which the caption is true, as far as the data set knows; chance is what a random order would
    reach, the ceiling what a perfect one would. A model that does both is an encoder unless --every-pair is given.
    """
    from vlp_models.evaluation.published_recall import published_recall
    from vlp_models.evaluation.retrieval import captions_of_records, recall_figures, truth_of
    from vlp_spec.found_deployment import find_deployment
    from vlp_spec.tasks import Task

    place = zoo_path() / "repository" if repository is None else repository
    tasks = find_deployment(place, model).deployment.tasks
    is_matcher = every_pair or (Task.MATCH in tasks and Task.EMBEDDINGS not in tasks)
    if is_matcher and matcher is not None:
        raise click.UsageError("--rerank: MODEL looks at every pair already")
    if both_ways and (matcher is None or queries is not None):
        raise click.UsageError("--both-ways: goes with --rerank, of all captions: without --queries")
    raw = _first_pictures(root, split, pictures)
    records = [one.record for one in raw]
    captions, _ = captions_of_records(records)
    if not captions:
        raise click.UsageError(f"--data: the first {len(raw)} pictures of split {split!r} have no captions")
    asked = Asked(place, raw, captions[:queries] if is_matcher else captions, regions, as_json)
    name, scores = _every_pair(asked, model) if is_matcher else _two_towers(asked, model)
    truth = truth_of(records, captions)[: len(asked.captions)]
    figures = {_BY_WORDS: recall_figures(scores, truth), _BY_PICTURES: recall_figures(scores.T, truth.T)}
    if matcher is not None:
        some = slice(0, queries)
        if queries is not None:
            figures["the same queries, one stage"] = recall_figures(scores[some], truth[some])
        second = SecondStage(matcher, candidates, both_ways)
        figures |= _look_again(asked, second, scores[some], truth[some])
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


@dataclass(frozen=True, slots=True)
class SecondStage:
    """Who looks at a search's first hits again.

    Attributes:
        matcher: a deployment.
        candidates: how many hits of each query it is shown.
        both_ways: whether pictures are queries, too.
    """

    matcher: str
    candidates: int
    both_ways: bool


def _first_pictures(root: Path, split: str, count: int) -> list[RawPicture]:
    from vlp_models.data.faults import FaultCounter
    from vlp_models.data.sources import open_source

    faults = FaultCounter(split)
    raw = list(itertools.islice(open_source(root, split, "auto").read(faults), count))
    faults.check(len(raw))
    return raw


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
    import numpy as np

    return _match(asked, matcher, np.ones((len(asked.captions), len(asked.pictures)), dtype=bool))


def _match(asked: Asked, matcher: str, wanted: np.ndarray) -> tuple[str, np.ndarray]:
    """name@version, and (captions, pictures) scores of the wanted pairs; `wanted` may have less captions than asked."""
    from tqdm import tqdm
    from vlp_models.evaluation.matchers import open_matcher

    opened = open_matcher(asked.place, matcher, asked.pictures, asked.regions)
    with tqdm(total=int(wanted.sum()), unit="pair", disable=asked.quiet) as bar:

        def watch(further: int) -> None:
            bar.update(further)

        return opened.name, opened.scores(asked.captions[: len(wanted)], wanted, watch)


def _look_again(asked: Asked, second: SecondStage, scores: np.ndarray, truth: np.ndarray) -> dict[str, RecallFigures]:
    """The second stage's figures by what they are of, for as many of the captions as there are scores."""
    from vlp_models.evaluation.retrieval import figures_of_ranking, first_candidates, rerank_hits

    most = second.candidates
    wanted = first_candidates(scores, most)
    if second.both_ways:
        wanted |= first_candidates(scores.T, most).T
    name, again = _match(asked, second.matcher, wanted)
    stages = {_BY_WORDS: (scores, truth, again)}
    if second.both_ways:
        stages[_BY_PICTURES] = (scores.T, truth.T, again.T)
    return {
        f"{what}, first {most} by {name}": figures_of_ranking(rerank_hits(first, right, anew, most), right)
        for what, (first, right, anew) in stages.items()
    }


def _rows(name: str, figures: RecallFigures) -> list[tuple[str, ...]]:
    return [
        (name, *(f"{figures.recall[k]:.1%}" for k in figures.recall), f"{figures.ceiling:.1%}"),
        ("  by chance", *(f"{figures.chance[k]:.1%}" for k in figures.chance), ""),
    ]


def _plain(figures: RecallFigures) -> dict[str, object]:
    return {"recall": dict(figures.recall), "chance": dict(figures.chance), "ceiling": figures.ceiling}
