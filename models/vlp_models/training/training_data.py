"""From a recipe to what a run draws from: tokenizer, answers, picture stores and streams."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from vlp_pipeline.text import TextProcessor
from vlp_pipeline.vilt_image import ViltImageSettings
from vlp_spec.errors import ArtifactError

from vlp_models.data.labels import TargetStore, build_labels, read_labels
from vlp_models.data.masking import MaskingRule
from vlp_models.data.picture_loading import PictureOptions, PictureSplit, load_pictures
from vlp_models.data.records import PictureRecord
from vlp_models.data.regions import RegionStore, RegionStream, place_words
from vlp_models.data.sources import has_split, open_source
from vlp_models.data.streams import (
    BatchShape,
    BatchStream,
    CaptionObjectives,
    CaptionStream,
    QuestionStream,
    caption_texts,
)
from vlp_models.data.tokenizer_building import build_tokenizer
from vlp_models.data.tokens import SpecialTokens, TokenStore
from vlp_models.training.recipe import Recipe


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
    def label_words(self) -> np.ndarray:
        """(labels, vocabulary) float32, each row the shares of an answer's words."""
        tokenizer = Tokenizer.from_str(self.tokenizer_json)
        shares = np.zeros((len(self.labels), tokenizer.get_vocab_size()), dtype=np.float32)
        for row, label in enumerate(self.labels):
            ids = tokenizer.encode(label, add_special_tokens=False).ids
            np.add.at(shares[row], ids, 1 / max(1, len(ids)))
        return shares

    @property
    def special(self) -> SpecialTokens:
        """Ids for masking."""
        return SpecialTokens.of(Tokenizer.from_str(self.tokenizer_json))


def image_settings(recipe: Recipe) -> ViltImageSettings:
    """The image processor's settings of a recipe."""
    image = recipe.image
    return ViltImageSettings(
        image.shorter_edge, image.longer_edge, image.size_divisor, image.patch_size, image.resample
    )


def load_splits(recipe: Recipe) -> tuple[PictureSplit, PictureSplit | None]:
    """Read the training split, and the evaluation split where the recipe wants it and it is there."""
    root = Path(recipe.data.root)
    options = PictureOptions(
        settings=image_settings(recipe),
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


def build_streams(
    recipe: Recipe, split: PictureSplit, texts: TrainingTexts, *, rank: int = 0, processes: int = 1
) -> list[BatchStream]:
    """One stream for captions and one for questions, as the objectives need them."""
    shape = BatchShape(
        recipe.optimisation.batch_size,
        rank=rank,
        processes=processes,
        pool_batches=recipe.data.pool_batches,
        length_bucket=recipe.data.length_bucket,
        seed=recipe.seed,
        texts_per_picture=recipe.data.texts_per_picture,
    )
    streams: list[BatchStream] = []
    if recipe.objectives.mlm is not None or recipe.objectives.itm is not None:
        streams.append(_caption_stream(recipe, split, texts, shape))
    if recipe.objectives.vqa is not None:
        streams.append(_question_stream(split, texts, shape))
    if recipe.objectives.regions is not None:
        streams.append(_region_stream(split, texts, shape, places=recipe.objectives.regions.places))
    return streams


def _caption_stream(recipe: Recipe, split: PictureSplit, texts: TrainingTexts, shape: BatchShape) -> CaptionStream:
    mlm, itm = recipe.objectives.mlm, recipe.objectives.itm
    wanted = CaptionObjectives(
        masking=MaskingRule(mlm.probability, mlm.whole_words, mlm.replacement) if mlm else None,
        negatives=itm.negatives if itm else "",
        itm_every=itm.every if itm and mlm else 1,
    )
    special = texts.special
    if mlm and special.mask < 0:
        raise ArtifactError("tokenizer: has no [MASK], which masked language modelling needs")
    per_picture = [
        caption_texts(
            record.captions,
            [(question.text, question.best_answer) for question in record.questions],
            with_answers=recipe.data.answered_questions,
        )
        for record in split.records
    ]
    tokens, picture_of = _tokenise(per_picture, texts)
    if len(tokens) == 0:
        raise ArtifactError(f"split {split.name!r}: no captions, which mlm and itm are trained on")
    return CaptionStream(split.pictures, tokens, picture_of, special=special, wanted=wanted, shape=shape)


def _question_stream(split: PictureSplit, texts: TrainingTexts, shape: BatchShape) -> QuestionStream:
    per_picture = [tuple(question.text for question in record.questions) for record in split.records]
    answers = [question.answers for record in split.records for question in record.questions]
    tokens, picture_of = _tokenise(per_picture, texts)
    targets = TargetStore.of(answers, texts.labels)
    if not targets.is_answerable.any():
        raise ArtifactError(f"split {split.name!r}: no question has an answer among the {len(texts.labels)} labels")
    return QuestionStream(split.pictures, tokens, picture_of, targets, shape)


def _region_stream(split: PictureSplit, texts: TrainingTexts, shape: BatchShape, *, places: bool) -> RegionStream:
    tokenizer = Tokenizer.from_str(texts.tokenizer_json)
    regions = [record.regions for record in split.records]
    if not any(regions):
        raise ArtifactError(f"split {split.name!r}: no regions, which region words are trained on")
    known: dict[tuple[str, ...], np.ndarray] = {}

    def encode(words: tuple[str, ...]) -> np.ndarray:
        if words not in known:
            known[words] = np.array(tokenizer.encode(" ".join(words), add_special_tokens=False).ids, dtype=np.int64)
        return known[words]

    words = [[encode(region.words + (place_words(region.box) if places else ())) for region in own] for own in regions]
    store = RegionStore.of(regions, words, split.pictures.grids)
    return RegionStream(split.pictures, store, texts.special, shape)


def _tokenise(per_picture: Sequence[Sequence[str]], texts: TrainingTexts) -> tuple[TokenStore, np.ndarray]:
    processor = texts.processor
    flat = [text for picture in per_picture for text in picture]
    picture_of = np.repeat(np.arange(len(per_picture)), [len(picture) for picture in per_picture])
    return TokenStore.encode(flat, processor.encode, processor.pad_id), picture_of
