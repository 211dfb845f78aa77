"""The batches that dual encoders and writing models train on: pictures with captions, and what their regions show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
from tokenizers import Tokenizer
from vlp_pipeline.clip_text import ClipTextProcessor, ClipTextSettings
from vlp_spec.errors import ArtifactError

from vlp_models.data.matching import FalseTexts
from vlp_models.data.pairs import FalseTextRule, PairObjectives, PairStream, PhraseStore, group_texts
from vlp_models.data.picture_loading import PictureSplit
from vlp_models.data.regions import RegionStore, region_phrase
from vlp_models.data.tokens import TokenStore
from vlp_models.training.recipe import Recipe, TowersRecipe
from vlp_models.training.recipe_objectives import ItmRecipe, PhrasesRecipe
from vlp_models.training.training_data import BatchPlace, TrainingTexts, batch_shape
from vlp_models.training.vilt_streams import region_store


def build_pair_stream(
    recipe: Recipe, split: PictureSplit, texts: TrainingTexts, place: BatchPlace, *, is_training: bool = True
) -> PairStream:
    """The stream of a recipe; outside of training, pictures stay as they are.

    Raises:
        ArtifactError: the split has no captions, or lacks regions that an objective needs.
    """
    captions = [caption for record in split.records for caption in record.captions]
    if not captions:
        raise ArtifactError(f"split {split.name!r}: no captions, which itc, lm and itm are trained on")
    tokens = tokenise_for_towers(captions, texts, recipe.model.family)
    picture_of = np.repeat(np.arange(len(split.records)), [len(record.captions) for record in split.records])
    regions = phrases = None
    if recipe.objectives.regions is not None or recipe.objectives.phrases is not None:
        towers = cast(TowersRecipe, recipe.model.towers)
        grid = np.full((len(split.records), 2), towers.image_size // towers.patch_size, dtype=np.int32)
        wanted = recipe.objectives.regions
        regions = region_store(split, texts, grid, places=wanted is not None and wanted.places)
        if recipe.objectives.phrases is not None:
            phrases = _phrases(recipe.objectives.phrases, split, regions, texts, recipe.model.family)
    return PairStream(
        split.pictures,
        tokens,
        group_texts(captions),
        picture_of,
        shape=batch_shape(recipe, place),
        wanted=PairObjectives(
            regions=regions if recipe.objectives.regions is not None else None,
            phrases=phrases,
            judged=_judged(recipe.objectives.itm, split, captions, picture_of, texts),
            moved_pixels=recipe.image.moved_pixels if is_training else 0,
        ),
    )


def _judged(
    itm: ItmRecipe | None, split: PictureSplit, captions: Sequence[str], picture_of: np.ndarray, texts: TrainingTexts
) -> FalseTextRule | None:
    if itm is None:
        return None
    scenes = [record.scene for record in split.records]
    false_texts = FalseTexts(captions, picture_of, scenes, texts.processor.encode)
    return FalseTextRule(false_texts, itm.false_texts, itm.every)


def tokenise_for_towers(captions: Sequence[str], texts: TrainingTexts, family: str) -> TokenStore:
    """Texts as the serving text processor gives them; SigLIP's are all filled up to the full length."""
    pad_id = Tokenizer.from_str(texts.tokenizer_json).token_to_id("[PAD]") or 0
    settings = ClipTextSettings(texts.max_length, pad_id, fixed=family == "siglip")
    processor = ClipTextProcessor.from_file(texts.tokenizer_json.encode(), settings)
    encode: Callable[[str], np.ndarray] = lambda text: processor.encode(text)[0]  # noqa: E731 - the mask is dropped
    return TokenStore.encode(captions, encode, pad_id)


def _phrases(
    wanted: PhrasesRecipe, split: PictureSplit, regions: RegionStore, texts: TrainingTexts, family: str
) -> PhraseStore:
    counts = [len(record.regions) for record in split.records]
    if not all(counts):
        place = split.records[counts.index(0)].id
        raise ArtifactError(
            f"split {split.name!r}: {place} has no regions; objectives.phrases needs some of each picture"
        )
    flat = [region_phrase(region) for record in split.records for region in record.regions]
    first = np.concatenate([[0], np.cumsum(counts)])
    slots = np.concatenate(regions.slots)
    return PhraseStore(tokenise_for_towers(flat, texts, family), group_texts(flat), slots, first, wanted.per_picture)
