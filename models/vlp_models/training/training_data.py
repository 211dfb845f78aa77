"""From a recipe to what every family's run draws from: pictures, tokenizer and answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from vlp_pipeline.text import TextProcessor
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.blip_tokenizer import with_blip_tokens
from vlp_models.data.labels import build_labels, read_labels
from vlp_models.data.picture_loading import PictureOptions, PictureSplit, Preparation, load_pictures
from vlp_models.data.records import PictureRecord
from vlp_models.data.sources import has_split, open_source
from vlp_models.data.streams import BatchShape
from vlp_models.data.tokenizer_building import build_tokenizer, with_tight_colons
from vlp_models.data.tokens import SpecialTokens
from vlp_models.training.recipe import WRITING_FAMILIES, Recipe


@dataclass(frozen=True)
class TrainingTexts:
    """The run's tokenizer (as JSON text) and its answers; empty answers without question answering."""

    tokenizer_json: str
    labels: tuple[str, ...]
    max_length: int

    @property
    def processor(self) -> TextProcessor:
        """The text processor that training and serving share."""
        return TextProcessor.from_file(self.tokenizer_json.encode(), self.max_length)

    @property
    def vocab_size(self) -> int:
        """How many ids there are."""
        return int(Tokenizer.from_str(self.tokenizer_json).get_vocab_size())

    @property
    def label_words(self) -> np.ndarray:
        """(labels, vocabulary) float32, each row the shares of an answer's words."""
        tokenizer = Tokenizer.from_str(self.tokenizer_json)
        shares = np.zeros((len(self.labels), tokenizer.get_vocab_size()), dtype=np.float32)
        for row, label in enumerate(self.labels):
            ids = tokenizer.encode(label, add_special_tokens=False).ids
            np.add.at(shares[row], ids, 1 / max(1, len(ids)))
        return shares

    def words_of(self, text: str) -> tuple[int, ...]:
        """Token ids of a text, without special ones."""
        return tuple(Tokenizer.from_str(self.tokenizer_json).encode(text, add_special_tokens=False).ids)

    @property
    def special(self) -> SpecialTokens:
        """Ids for masking."""
        return SpecialTokens.of(Tokenizer.from_str(self.tokenizer_json))


@dataclass(frozen=True)
class BatchPlace:
    """Which share of the batches a process takes, `rank` of `processes`, and how many batches make a step."""

    rank: int = 0
    processes: int = 1
    micro_batches: int = 1


def batch_shape(recipe: Recipe, place: BatchPlace) -> BatchShape:
    """How batches are cut for a process."""
    return BatchShape(
        recipe.optimisation.batch_size,
        rank=place.rank,
        processes=place.processes,
        micro_batches=place.micro_batches,
        pool_batches=recipe.data.pool_batches,
        length_bucket=recipe.data.length_bucket,
        seed=recipe.seed,
        texts_per_picture=recipe.data.texts_per_picture,
        longest_text=recipe.data.longest_text,
    )


def load_splits(recipe: Recipe, preparation: Preparation) -> tuple[PictureSplit, PictureSplit | None]:
    """Read the training split, and the evaluation split where the recipe wants it and it is there."""
    root = Path(recipe.data.root)
    options = PictureOptions(
        preparation=preparation,
        blind=recipe.image.blind,
        cache_dir=Path(recipe.data.cache_dir) if recipe.data.cache == "disk" else None,
        limit=recipe.data.limit,
        threads=recipe.data.decode_threads,
    )
    train = load_pictures(open_source(root, recipe.data.train_split, recipe.data.format), "train", options)
    if not recipe.evaluation.every or not has_split(root, recipe.data.eval_split):
        return train, None
    source = open_source(root, recipe.data.eval_split, recipe.data.format)
    return train, load_pictures(source, recipe.data.eval_split, replace(options, limit=recipe.evaluation.limit))


def _all_texts(records: Sequence[PictureRecord]) -> Iterator[str]:
    for record in records:
        yield from record.captions
        for question in record.questions:
            yield question.text
            yield from question.answers
        for region in record.regions:
            yield " ".join(region.words)
        for hypothesis in record.hypotheses:
            yield hypothesis.text
        for statement in record.pair_statements:
            yield statement.text
        for phrase in record.phrases:
            yield phrase.text


def choose_texts(
    recipe: Recipe, records: Sequence[PictureRecord], given_tokenizer: str = "", given_labels: Sequence[str] = ()
) -> TrainingTexts:
    """Decide on tokenizer and answers.

    Args:
        recipe: "build" or paths.
        records: of the training split.
        given_tokenizer: tokenizer.json of the checkpoint that the run starts from; goes before the recipe's.
        given_labels: answers of that checkpoint, kept so that its head stays meaningful.
    """
    if given_tokenizer:
        tokenizer_json = given_tokenizer
    elif recipe.text.tokenizer == "build":
        built = build_tokenizer(_all_texts(records), vocab_size=recipe.text.vocab_size, lowercase=recipe.text.lowercase)
        tokenizer_json = built.to_str()
    else:
        try:
            tokenizer_json = Path(recipe.text.tokenizer).read_text(encoding="utf-8")
        except OSError as error:
            raise ArtifactError(f"tokenizer {recipe.text.tokenizer}: {error.strerror}") from error
    if recipe.model.family in WRITING_FAMILIES:
        tokenizer_json = with_tight_colons(with_blip_tokens(tokenizer_json))
    labels: tuple[str, ...] = ()
    if recipe.objectives.vqa is not None:
        if recipe.objectives.vqa.labels != "build":
            labels = read_labels(Path(recipe.objectives.vqa.labels))
        else:
            labels = tuple(given_labels) or build_labels(records, recipe.objectives.vqa.min_count)
    return TrainingTexts(tokenizer_json, labels, recipe.text.max_length)


def save_texts(texts: TrainingTexts, run_dir: Path) -> None:
    """Keep tokenizer and answers beside the run, for its resumption."""
    (run_dir / "tokenizer.json").write_text(texts.tokenizer_json, encoding="utf-8")
    (run_dir / "labels.json").write_text(json.dumps(list(texts.labels), ensure_ascii=False), encoding="utf-8")


def read_texts(run_dir: Path, max_length: int) -> TrainingTexts:
    """What `save_texts` wrote."""
    tokenizer_json = (run_dir / "tokenizer.json").read_text(encoding="utf-8")
    labels = json.loads((run_dir / "labels.json").read_text(encoding="utf-8"))
    return TrainingTexts(tokenizer_json, tuple(labels), max_length)
