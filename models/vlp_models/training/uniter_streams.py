"""The batches that a UNITER trains on, as the recipe's objectives need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from vlp_spec.errors import ArtifactError

from vlp_models.data.epochs import GroupShares
from vlp_models.data.labels import TargetStore
from vlp_models.data.masked_regions import MaskedRegionStream
from vlp_models.data.masking import MaskingRule
from vlp_models.data.matching import FalseTexts
from vlp_models.data.pair_statements import PairStatementStream, StatedPairs
from vlp_models.data.records import Hypothesis, PictureRecord, Question
from vlp_models.data.referred_regions import ReferredRegions, ReferringStream
from vlp_models.data.region_features import RegionFeatures
from vlp_models.data.streams import BatchShape, BatchStream, CaptionObjectives, CaptionStream, QuestionStream
from vlp_models.data.tokens import TokenStore
from vlp_models.training.recipe import Recipe
from vlp_models.training.training_data import BatchPlace, TrainingTexts, batch_shape


@dataclass(frozen=True)
class RegionSplit:
    """A split with its region features: record i belongs to picture i."""

    name: str
    records: tuple[PictureRecord, ...]
    pictures: RegionFeatures


def entailment_labels(records: Sequence[PictureRecord]) -> tuple[str, ...]:
    """The labels that hypotheses have, in alphabetical order.

    Raises:
        ArtifactError: fewer than two.
    """
    found = sorted({hypothesis.label for record in records for hypothesis in record.hypotheses})
    if len(found) < 2:
        raise ArtifactError(f"entailment: the hypotheses have the labels {found}, expected two or more")
    return tuple(found)


def build_uniter_streams(
    recipe: Recipe, split: RegionSplit, texts: TrainingTexts, place: BatchPlace, labels: Sequence[str]
) -> list[BatchStream]:
    """One stream for each kind of text that an objective needs.

    Args:
        recipe: its objectives.
        split: what is trained on.
        texts: tokenizer and answers.
        place: which share of the batches is wanted.
        labels: of entailment.

    Raises:
        ArtifactError: the split lacks what an objective needs.
    """
    wanted, shape = recipe.objectives, batch_shape(recipe, place)
    streams: list[BatchStream] = []
    if wanted.mlm is not None or wanted.itm is not None:
        streams.append(_caption_stream(recipe, split, texts, shape))
    if wanted.mrm is not None:
        tokens, picture_of, _ = _captions(recipe, split, texts)
        needs_classes = wanted.mrm.classes + wanted.mrm.distribution > 0
        streams.append(
            MaskedRegionStream(
                split.pictures, tokens, picture_of, shape, probability=wanted.mrm.probability, classes=needs_classes
            )
        )
    if wanted.vqa is not None:
        asked = [(number, one) for number, record in enumerate(split.records) for one in record.questions]
        answers = TargetStore.of([one.answers for _, one in asked], texts.labels)
        streams.append(_labelled(recipe, split, texts, shape, asked, answers, "questions"))
    if wanted.entailment is not None:
        judged = [(number, one) for number, record in enumerate(split.records) for one in record.hypotheses]
        targets = TargetStore.of([{one.label: 1.0} for _, one in judged], labels)
        streams.append(_labelled(recipe, split, texts, shape, judged, targets, "hypotheses"))
    if wanted.reasoning is not None:
        pairs = StatedPairs.of(split.records, split.name)
        tokens = tokenise([one.text for one in pairs.statements], texts)
        streams.append(PairStatementStream(split.pictures, tokens, pairs, shape))
    if wanted.referring is not None:
        referred = ReferredRegions.of(split.records, split.pictures, split.name)
        tokens = tokenise([one.text for one in referred.phrases], texts)
        streams.append(ReferringStream(split.pictures, tokens, referred, shape))
    return streams


def tokenise(flat: Sequence[str], texts: TrainingTexts) -> TokenStore:
    """Texts as the serving text processor gives them."""
    processor = texts.processor
    return TokenStore.encode(flat, processor.encode, processor.pad_id)


def _captions(
    recipe: Recipe, split: RegionSplit, texts: TrainingTexts
) -> tuple[TokenStore, np.ndarray, tuple[str, ...]]:
    """All captions with the picture of each, and as texts.

    Raises:
        ArtifactError: there are none.
    """
    flat = tuple(caption for record in split.records for caption in record.captions)
    if not flat:
        raise ArtifactError(f"split {split.name!r}: no captions, which mlm, itm and mrm are trained on")
    picture_of = np.repeat(np.arange(len(split.records)), [len(record.captions) for record in split.records])
    return tokenise(flat, texts), picture_of, flat


def _caption_stream(recipe: Recipe, split: RegionSplit, texts: TrainingTexts, shape: BatchShape) -> CaptionStream:
    mlm, itm = recipe.objectives.mlm, recipe.objectives.itm
    if mlm and texts.special.mask < 0:
        raise ArtifactError("tokenizer: has no [MASK], which masked language modelling needs")
    tokens, picture_of, flat = _captions(recipe, split, texts)
    wanted = CaptionObjectives(
        masking=MaskingRule(mlm.probability, mlm.whole_words, mlm.replacement) if mlm else None,
        negatives=itm.negatives if itm else "",
        itm_every=itm.every if itm and mlm else 1,
        false_texts=itm.false_texts if itm else 0.0,
    )
    scenes = [record.scene for record in split.records]
    false_texts = FalseTexts(flat, picture_of, scenes, texts.processor.encode)
    return CaptionStream(
        split.pictures, tokens, picture_of, special=texts.special, wanted=wanted, shape=shape, false_texts=false_texts
    )


def _labelled(
    recipe: Recipe,
    split: RegionSplit,
    texts: TrainingTexts,
    shape: BatchShape,
    asked: Sequence[tuple[int, Question | Hypothesis]],
    targets: TargetStore,
    name: str,
) -> QuestionStream:
    """Sentences of one picture each, with targets over labels."""
    if not targets.is_answerable.any():
        raise ArtifactError(f"split {split.name!r}: none of its {name} has one of the {targets.num_labels} labels")
    shares = None
    if recipe.data.balance_types:
        favoured = {kind: recipe.data.favour for kind in recipe.data.favoured_types}
        shares = GroupShares.of([one.type for _, one in asked], favoured)
    tokens = tokenise([one.text for _, one in asked], texts)
    picture_of = np.array([number for number, _ in asked], dtype=np.int64)
    return QuestionStream(split.pictures, tokens, picture_of, targets, shape, shares=shares, name=name)
