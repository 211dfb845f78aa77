"""The batches that a ViLT trains on: captions, questions and regions, as the recipe's objectives need them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from tokenizers import Tokenizer
from vlp_spec.errors import ArtifactError

from vlp_models.data.epochs import GroupShares
from vlp_models.data.grounding import ComparingWords, GroundingStore, PhraseFinder, described_regions
from vlp_models.data.labels import TargetStore
from vlp_models.data.masking import MaskingRule
from vlp_models.data.matching import FalseTexts
from vlp_models.data.picture_loading import PictureSplit
from vlp_models.data.records import Question, Region
from vlp_models.data.regions import RegionStore, RegionStream, place_words
from vlp_models.data.streams import (
    BatchShape,
    BatchStream,
    CaptionObjectives,
    CaptionStream,
    QuestionStream,
    caption_texts,
)
from vlp_models.data.tokens import TokenStore
from vlp_models.training.recipe import Recipe
from vlp_models.training.training_data import BatchPlace, TrainingTexts, batch_shape


def build_vilt_streams(
    recipe: Recipe, split: PictureSplit, texts: TrainingTexts, place: BatchPlace
) -> list[BatchStream]:
    """One stream for each of captions, questions and regions that an objective needs."""
    shape = batch_shape(recipe, place)
    streams: list[BatchStream] = []
    if recipe.objectives.mlm is not None or recipe.objectives.itm is not None:
        streams.append(_caption_stream(recipe, split, texts, shape))
    if recipe.objectives.vqa is not None:
        streams.append(_question_stream(recipe, split, texts, shape))
    if recipe.objectives.regions is not None:
        streams.append(_region_stream(split, texts, shape, places=recipe.objectives.regions.places))
    return streams


def _caption_stream(recipe: Recipe, split: PictureSplit, texts: TrainingTexts, shape: BatchShape) -> CaptionStream:
    mlm, itm = recipe.objectives.mlm, recipe.objectives.itm
    wanted = CaptionObjectives(
        masking=MaskingRule(mlm.probability, mlm.whole_words, mlm.replacement) if mlm else None,
        negatives=itm.negatives if itm else "",
        itm_every=itm.every if itm and mlm else 1,
        false_texts=itm.false_texts if itm else 0.0,
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
    scenes = [record.scene for record in split.records]
    flat = [text for own in per_picture for text in own]
    false_texts = FalseTexts(flat, picture_of, scenes, texts.processor.encode)
    return CaptionStream(
        split.pictures, tokens, picture_of, special=special, wanted=wanted, shape=shape, false_texts=false_texts
    )


def _question_stream(recipe: Recipe, split: PictureSplit, texts: TrainingTexts, shape: BatchShape) -> QuestionStream:
    asked = [question for record in split.records for question in record.questions]
    tokens, picture_of = _tokenise([[question.text for question in own.questions] for own in split.records], texts)
    targets = TargetStore.of([question.answers for question in asked], texts.labels)
    if not targets.is_answerable.any():
        raise ArtifactError(f"split {split.name!r}: no question has an answer among the {len(texts.labels)} labels")
    named = None
    if recipe.objectives.grounding is not None:
        named = _named_patches(asked, picture_of, split, texts, places=recipe.objectives.grounding.places)
    shares = None
    if recipe.data.balance_types:
        favoured = {name: recipe.data.favour for name in recipe.data.favoured_types}
        shares = GroupShares.of([question.type for question in asked], favoured)
    return QuestionStream(split.pictures, tokens, picture_of, targets, shape, shares=shares, named=named)


def _named_patches(
    asked: Sequence[Question], picture_of: np.ndarray, split: PictureSplit, texts: TrainingTexts, *, places: bool
) -> GroundingStore:
    tokenizer = Tokenizer.from_str(texts.tokenizer_json)
    encode = _word_encoder(tokenizer)
    described = [
        described_regions(own, grid, encode, places=places)
        for own, grid in zip(_regions_of(split, "grounding"), split.pictures.grids, strict=True)
    ]
    words = frozenset().union(*(region.words for own in described for region in own))
    find = PhraseFinder(tokenizer, words, texts.max_length)
    vocabulary = ComparingWords.of(tokenizer)
    return GroundingStore.of([question.text for question in asked], picture_of, described, find, vocabulary)


def _word_encoder(tokenizer: Tokenizer) -> Callable[[str], tuple[int, ...]]:
    """Words -> token ids without special ones, each distinct text tokenised once."""

    @cache
    def encode(words: str) -> tuple[int, ...]:
        return tuple(tokenizer.encode(words, add_special_tokens=False).ids)

    return encode


def _regions_of(split: PictureSplit, objective: str) -> list[tuple[Region, ...]]:
    regions = [record.regions for record in split.records]
    if not any(regions):
        raise ArtifactError(f"split {split.name!r}: no regions, which {objective} needs")
    return regions


def _region_stream(split: PictureSplit, texts: TrainingTexts, shape: BatchShape, *, places: bool) -> RegionStream:
    store = region_store(split, texts, split.pictures.grids, places=places)
    return RegionStream(split.pictures, store, texts.special, shape)


def region_store(split: PictureSplit, texts: TrainingTexts, grids: np.ndarray, *, places: bool) -> RegionStore:
    """The regions of a split with their words as ids.

    Args:
        split: its records hold them.
        texts: the tokenizer.
        grids: (pictures, 2) int32, rows and columns of the model's patches.
        places: whether the words say where a region lies, too.

    Raises:
        ArtifactError: no picture has a region.
    """
    regions = _regions_of(split, "regions")
    encode = _word_encoder(Tokenizer.from_str(texts.tokenizer_json))

    def ids_of(region: Region) -> np.ndarray:
        said = region.words + (place_words(region.box) if places else ())
        return np.array(encode(" ".join(said)), dtype=np.int64)

    words = [[ids_of(region) for region in own] for own in regions]
    return RegionStore.of(regions, words, grids)


def _tokenise(per_picture: Sequence[Sequence[str]], texts: TrainingTexts) -> tuple[TokenStore, np.ndarray]:
    processor = texts.processor
    flat = [text for picture in per_picture for text in picture]
    picture_of = np.repeat(np.arange(len(per_picture)), [len(picture) for picture in per_picture])
    return TokenStore.encode(flat, processor.encode, processor.pad_id), picture_of
