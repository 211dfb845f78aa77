"""Published matchers over whole sets of pictures and texts: how well those pairs fit that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from vlp_pipeline.generative import VISION_ROLE, StagedMatchPipeline
from vlp_pipeline.pipeline import TEXT_AXIS, TEXTS_AXIS, MatchPipeline, PreparedImage
from vlp_spec.deployment import Deployment
from vlp_spec.tasks import Task

from vlp_models.data.sources import RawPicture
from vlp_models.evaluation.deployment_graphs import DeploymentGraphs
from vlp_models.evaluation.judging import Prepare, preparation_of
from vlp_models.evaluation.retrieval_artefacts import Watch, find_for

# Enough to keep a processor busy, few enough to pad little.
_TEXTS_A_ROW = 32


class Matcher(Protocol):
    """A deployment that says how well texts fit pictures."""

    @property
    def name(self) -> str:
        """name@version."""
        ...

    def scores(self, texts: Sequence[str], wanted: np.ndarray, watch: Watch) -> np.ndarray:
        """What pictures and texts are ordered by, the higher the better.

        Args:
            texts: (texts,).
            wanted: (texts, pictures) bool, the pairs to look at; at least one.
            watch: told of every further pair.

        Returns:
            (texts, pictures) float64; -inf where a pair is not wanted. Probabilities near 1 need float64 to differ.

        Raises:
            RequestError: a picture or a text cannot be read.
        """
        ...


def open_matcher(
    repository: Path, reference: str, pictures: Sequence[RawPicture], regions: Path | None = None
) -> Matcher:
    """Open a deployment.

    Args:
        repository: folder with deployments/ and model_repository/.
        reference: "name", "name@version" or "name@alias".
        pictures: all that will be asked about.
        regions: a store of their regions, in place of the extractor of a deployment that reads regions.

    Raises:
        ArtifactError: there is none, or it is damaged, or needs regions and has neither store nor extractor.
        TaskNotSupportedError: it does not match.
    """
    found = find_for(repository, reference, Task.MATCH)
    graphs = DeploymentGraphs(found)
    if VISION_ROLE in graphs.roles:
        return StagedMatcher(graphs, pictures, _texts_a_row(found.deployment))
    return JoinedMatcher(graphs, pictures, preparation_of(graphs.pipeline, repository, regions))


class JoinedMatcher:
    """A Matcher whose one graph reads a picture and a text together.

    Args:
        graphs: with a MatchPipeline.
        pictures: all that will be asked about.
        prepare: makes a picture what the graph takes, when it is first needed; it is kept.
    """

    def __init__(self, graphs: DeploymentGraphs, pictures: Sequence[RawPicture], prepare: Prepare) -> None:
        self.name = graphs.name
        self._graphs = graphs
        self._pipeline = cast(MatchPipeline, graphs.pipeline)
        self._pictures = pictures
        self._prepare = prepare
        self._prepared: dict[int, PreparedImage] = {}

    def scores(self, texts: Sequence[str], wanted: np.ndarray, watch: Watch) -> np.ndarray:
        """Text by text: the probability that it fits, 0 to 1; see Matcher."""
        scores = np.full(wanted.shape, -np.inf)
        for text in np.flatnonzero(wanted.any(axis=1)).tolist():
            pictures = np.flatnonzero(wanted[text]).tolist()
            items = [self._pipeline.prepare(self._picture(number), texts[text]) for number in pictures]
            scores[text, pictures] = [self._pipeline.score(row) for row in self._graphs.run(items)]
            watch(len(pictures))
        return scores

    def _picture(self, number: int) -> PreparedImage:
        if number not in self._prepared:
            self._prepared[number] = self._prepare(self._pictures[number])
        return self._prepared[number]


class StagedMatcher:
    """A Matcher that sees each picture by itself, once, and then reads texts in view of what it saw, many in one row.

    Texts that also have a similarity (ITC) are ordered by both scores, as BLIP's published evaluation does.

    Args:
        graphs: with a StagedMatchPipeline.
        pictures: all that will be asked about.
        texts_a_row: read at a time.
    """

    def __init__(
        self, graphs: DeploymentGraphs, pictures: Sequence[RawPicture], texts_a_row: int = _TEXTS_A_ROW
    ) -> None:
        self.name = graphs.name
        self._graphs = graphs
        self._pipeline = cast(StagedMatchPipeline, graphs.pipeline)
        self._pictures = pictures
        self._texts_a_row = texts_a_row

    def scores(self, texts: Sequence[str], wanted: np.ndarray, watch: Watch) -> np.ndarray:
        """Picture by picture, for its states are too large to be kept for all: `rank_score`; see Matcher."""
        scores = np.full(wanted.shape, -np.inf)
        asked = np.flatnonzero(wanted.any(axis=1))
        items = [self._pipeline.text_item(texts[number]) for number in asked.tolist()]
        by_length = asked[np.argsort([item.sizes[TEXT_AXIS] for item in items], kind="stable")]
        vectors = np.zeros((len(texts), self._pipeline.dimension), np.float32)
        vectors[asked] = [self._pipeline.embedding(row) for row in self._graphs.run(items)]
        for picture in np.flatnonzero(wanted.any(axis=0)).tolist():
            numbers = by_length[wanted[by_length, picture]].tolist()
            judge = self._judge_of(self._pictures[picture].image)
            for start in range(0, len(numbers), self._texts_a_row):
                row = numbers[start : start + self._texts_a_row]
                scores[row, picture] = judge([texts[number] for number in row], vectors[row])
            watch(len(numbers))
        return scores

    def _judge_of(self, image: bytes) -> Callable[[Sequence[str], np.ndarray], list[float]]:
        """A picture's way from texts and their vectors, (texts, dimension), to what they are ordered by."""
        pipeline, run = self._pipeline, self._graphs.run_one
        seen = run(pipeline.vision_item(pipeline.prepare_image(image)))
        cross, vector = run(pipeline.cross_item(seen)), pipeline.embedding(seen)

        def judge(texts: Sequence[str], vectors: np.ndarray) -> list[float]:
            outputs = run(pipeline.fusion_item(cross, texts))
            results = pipeline.results(outputs, list(vectors @ vector))
            return [one.score if one.rank_score is None else one.rank_score for one in results]

        return judge


def _texts_a_row(deployment: Deployment) -> int:
    """As many as the deployment takes, and not too many."""
    limit = deployment.axes.get(TEXTS_AXIS)
    return _TEXTS_A_ROW if limit is None else min(limit.max, _TEXTS_A_ROW)
