"""`vlpserve evaluate` of a deployment that captions: BLEU, CIDEr and truth, beside captions that nobody wrote."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vlp_zoo import zoo_path

from vlp_cli.served_model import ServedModel
from vlp_cli.table import format_table

if TYPE_CHECKING:
    from vlp_models.evaluation.caption_split import CaptionedPicture, Captioner
    from vlp_models.evaluation.captioning import CaptionScores

_ENCODER = "scenes-clip"
_TRAIN_PICTURES = 10_000


@dataclass(frozen=True, slots=True)
class CaptionsAsked:
    """Which deployment captions what.

    Attributes:
        limit: pictures at most; 0 shows all.
        predictions: where every caption is written to.
        as_json: give JSON in place of tables, and show no bar.
    """

    repository: Path
    source: str
    root: Path
    split: str
    train_split: str
    limit: int
    batch_size: int
    predictions: Path | None
    as_json: bool


def open_captioner(repository: Path, reference: str) -> AbstractContextManager[Captioner]:
    """Serve a deployment that captions, as long as the context lasts.

    Raises:
        ArtifactError: it cannot be served.
    """
    return ServedModel(repository, reference)


def evaluate_captions(asked: CaptionsAsked) -> str:
    """Caption a split and score it; the report as it is printed."""
    from tqdm import tqdm
    from vlp_models.data.sources import has_split
    from vlp_models.evaluation.caption_split import caption_split, write_captions
    from vlp_models.evaluation.captioning import score_captions

    with (
        open_captioner(asked.repository, asked.source) as captioner,
        tqdm(unit="picture", disable=asked.as_json) as bar,
    ):

        def watch(done: int) -> None:
            bar.update(done - bar.n)

        pictures = caption_split(
            captioner, asked.root, asked.split, limit=asked.limit, batch_size=asked.batch_size, watch=watch
        )
    if asked.predictions is not None:
        write_captions(asked.predictions, pictures)
    said = {captioner.name: [one.caption for one in pictures]}
    if has_split(asked.root, asked.train_split):
        said |= _baselines(asked, pictures)
    records = [one.record for one in pictures]
    scores = {who: score_captions(captions, records) for who, captions in said.items()}
    return (_as_json if asked.as_json else _as_text)(asked, len(pictures), scores)


def _baselines(asked: CaptionsAsked, pictures: Sequence[CaptionedPicture]) -> dict[str, list[str]]:
    """By the shipped encoder, from the first training pictures."""
    from tqdm import tqdm
    from vlp_models.data.faults import FaultCounter
    from vlp_models.data.sources import open_source
    from vlp_models.evaluation.caption_baselines import baseline_captions
    from vlp_models.evaluation.retrieval_artefacts import EncoderGraphs

    wanted = {one.record.id for one in pictures}
    shown = open_source(asked.root, asked.split).read(FaultCounter(asked.split))
    images = (raw.image for raw in shown if raw.record.id in wanted)
    training = open_source(asked.root, asked.train_split).read(FaultCounter(asked.train_split))
    with tqdm(unit="vector", disable=asked.as_json, desc="baselines") as bar:

        def watch(further: int) -> None:
            bar.update(further)

        encoder = EncoderGraphs(zoo_path() / "repository", _ENCODER)
        return baseline_captions(encoder, images, itertools.islice(training, _TRAIN_PICTURES), watch)


def _as_text(asked: CaptionsAsked, count: int, scores: Mapping[str, CaptionScores]) -> str:
    name, own = next(iter(scores.items()))
    head = ["captions", "BLEU-1", "BLEU-4", "CIDEr"]
    rows = [[who, f"{one.bleu[0]:.3f}", f"{one.bleu[3]:.3f}", f"{one.cider:.3f}"] for who, one in scores.items()]
    lines = [f"{name} on {count} pictures of split {asked.split!r}"]
    if len(scores) > 1:
        lines[0] += (
            f"; baselines from the first {_TRAIN_PICTURES} pictures of split {asked.train_split!r} by {_ENCODER}"
        )
    if own.scenes is None:
        return "\n".join([*lines, format_table(head, rows)])
    for row, one in zip(rows, scores.values(), strict=True):
        row += [f"{one.scenes.exact:.2%}", f"{one.scenes.complete:.2%}"] if one.scenes is not None else []
    lines.append(format_table([*head, "exact", "exact and complete"], rows))
    kinds = [[kind, str(number), f"{exact:.2%}"] for kind, (number, exact) in own.scenes.by_type.items()]
    return "\n".join([*lines, "", format_table([f"captions of {name}", "number", "exact"], kinds)])


def _as_json(asked: CaptionsAsked, count: int, scores: Mapping[str, CaptionScores]) -> str:
    (name, own), *others = scores.items()
    content = {"model": name, "split": asked.split, "pictures": count, **_plain(own)}
    if others:
        content["train_split"] = asked.train_split
        content["baselines"] = {who: _plain(one) for who, one in others}
    return json.dumps(content, indent=1)


def _plain(scores: CaptionScores) -> dict[str, object]:
    plain: dict[str, object] = {"bleu": list(scores.bleu), "cider": scores.cider}
    if scores.scenes is not None:
        types = {kind: {"captions": number, "exact": exact} for kind, (number, exact) in scores.scenes.by_type.items()}
        plain |= {"exact": scores.scenes.exact, "complete": scores.scenes.complete, "types": types}
    return plain
