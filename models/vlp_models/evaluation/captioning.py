"""How good captions are: BLEU and CIDEr against what people wrote, and whether they are true where scenes are known.

A picture's references are all its captions, of whichever type: a model that counts is not wrong because another
caption tells places.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlp_models.data.records import PictureRecord
from vlp_models.evaluation.bleu import corpus_bleu
from vlp_models.evaluation.caption_tokens import caption_tokens
from vlp_models.evaluation.cider import corpus_cider
from vlp_models.scenes.caption_grammar import CAPTION_TYPES, CaptionFacts, PlacesCaption, RelationCaption, parse_caption
from vlp_models.scenes.world import Scene

NO_TYPE = "none of these"
_BEFORE_MARK = re.compile(r"\s+([,:])")


@dataclass(frozen=True, slots=True)
class SceneScores:
    """Captions against what the pictures are known to show; shares are 0 to 1.

    Attributes:
        pictures: how many have a known scene.
        exact: share of captions that a scene's grammar could have said, and that are true of the scene.
        complete: share of captions that are exact and name every thing.
        by_type: "places", "counts", "relation" or "none of these" -> captions of that type, and the exact share of
            them; a type that no caption has is not there.
    """

    pictures: int
    exact: float
    complete: float
    by_type: Mapping[str, tuple[int, float]]


@dataclass(frozen=True, slots=True)
class CaptionScores:
    """A split's result.

    Attributes:
        bleu: BLEU-1 to BLEU-4, 0 to 1.
        cider: 0 to 10.
        scenes: None where no record says what its picture shows.
    """

    bleu: tuple[float, float, float, float]
    cider: float
    scenes: SceneScores | None = None


def score_captions(generated: Sequence[str], records: Sequence[PictureRecord]) -> CaptionScores:
    """Score one caption a picture.

    Args:
        generated: in the order of `records`.
        records: each with one caption at least.

    Raises:
        ValueError: there is no picture, or one has no caption, or the two are not of equal length.
    """
    words = [caption_tokens(text) for text in generated]
    references = [[caption_tokens(text) for text in record.captions] for record in records]
    bleu, cider = corpus_bleu(words, references), corpus_cider(words, references)
    known = [(text, record.scene) for text, record in zip(generated, records, strict=True) if record.scene is not None]
    return CaptionScores(bleu, cider, _score_scenes(known) if known else None)


def _score_scenes(known: Sequence[tuple[str, Scene]]) -> SceneScores:
    judged = [_judge(text, scene) for text, scene in known]
    by_type = {}
    for name in (*CAPTION_TYPES, NO_TYPE):
        own = [is_exact for kind, is_exact, _ in judged if kind == name]
        if own:
            by_type[name] = (len(own), sum(own) / len(own))
    exact = sum(is_exact for _, is_exact, _ in judged) / len(judged)
    complete = sum(is_complete for _, _, is_complete in judged) / len(judged)
    return SceneScores(len(judged), exact, complete, by_type)


def _judge(text: str, scene: Scene) -> tuple[str, bool, bool]:
    """A caption's type, whether it is exact, and whether it names every thing besides."""
    # How a tokenizer spaces its marks is not what the caption says.
    plain = _BEFORE_MARK.sub(r"\1", " ".join(text.lower().split())).rstrip(" .")
    facts = parse_caption(plain)
    if facts is None or facts.text != plain:
        return NO_TYPE, False, False
    exact = facts.holds(scene)
    return facts.type, exact, exact and _number_named(facts, scene) == len(scene.things)


def _number_named(facts: CaptionFacts, scene: Scene) -> int:
    """How many things a true caption names."""
    if isinstance(facts, PlacesCaption):
        return len(facts.things)
    return 2 if isinstance(facts, RelationCaption) else len(scene.things)
