"""The objectives of a recipe, as frozen records: what a run learns from, and how much each counts."""

from __future__ import annotations

from dataclasses import dataclass, fields

from vlp_models.data.masking import REPLACEMENTS
from vlp_models.data.negatives import NEGATIVES
from vlp_models.families.uniter_config import NLVR2_VARIANTS
from vlp_models.training.recipe_checks import at_least, check, one_of


@dataclass(frozen=True)
class MlmRecipe:
    """Masked language modelling."""

    weight: float = 1.0
    probability: float = 0.15
    whole_words: bool = True
    replacement: str = "bert"

    def __post_init__(self) -> None:
        check(
            one_of("replacement", self.replacement, REPLACEMENTS),
            (0 < self.probability < 1, f"probability: got {self.probability}, expected between 0 and 1"),
        )


@dataclass(frozen=True)
class ItmRecipe:
    """Image-text matching, in every `every`-th step.

    Attributes:
        negatives: "random" pictures of the batch, or "hard" ones: those whose texts share words with this one; BLIP
            draws pictures and texts as likely as its own embeddings find them alike.
        false_texts: share of the false pairs in which, instead, the caption is changed in one attribute, number or
            relation and the picture stays; for pictures whose scene is known.
        words: weight of a second loss on those captions: which of their words are false. Without it, a yes or no for
            the whole caption takes long to show where to look.
    """

    weight: float = 1.0
    negatives: str = "random"
    every: int = 1
    false_texts: float = 0.0
    words: float = 0.0

    def __post_init__(self) -> None:
        check(
            one_of("negatives", self.negatives, NEGATIVES),
            at_least("every", self.every, 1),
            (0 <= self.false_texts <= 1, f"false_texts: got {self.false_texts}, expected a share from 0 to 1"),
            at_least("words", self.words, 0),
        )


@dataclass(frozen=True)
class WpaRecipe:
    """Word-patch alignment by optimal transport, on the pairs of image-text matching."""

    weight: float = 0.1


@dataclass(frozen=True)
class RegionsRecipe:
    """Region words: the patch in the middle of a region predicts the words for it.

    With `places` also where it lies: "top", "middle" or "bottom", and "left", "center" or "right".
    """

    weight: float = 1.0
    places: bool = False


@dataclass(frozen=True)
class GroundingRecipe:
    """Grounding: words of questions point at the patches of the regions that they name, or at none of them.

    Attributes:
        layer: the block after which it is asked for, counted from 1. Blocks above it may build on what it found.
        places: words for a place, such as "top left", point at the regions that lie there.
        centres: weight of a loss: a word that names one region says where its middle is, by a linear map, so
            that places can be compared above.
        unsaid: weight of a loss in which a word that names one region says what else that region is, by the word
            decoder: "boat" says its colour, "top left" what lies there. Pointing alone can be learned without looking.
        told: weight of a loss: one layer above, a word says how many regions it names, and the words of a text that
            names two regions on which side the first lies of the second. A yes or no to "is this left of that?" alone
            takes very long to teach it.
    """

    weight: float = 1.0
    layer: int = 1
    places: bool = False
    centres: float = 0.0
    unsaid: float = 0.0
    told: float = 0.0

    def __post_init__(self) -> None:
        check(
            at_least("layer", self.layer, 1),
            at_least("centres", self.centres, 0),
            at_least("unsaid", self.unsaid, 0),
            at_least("told", self.told, 0),
        )

    @property
    def last_layer(self) -> int:
        """The highest block that is asked for something."""
        return self.layer + 1 if self.told else self.layer


@dataclass(frozen=True)
class VqaRecipe:
    """Question answering.

    Attributes:
        loss: "bce" = independent labels with soft targets (served scores are sigmoids); "ce" = softmax against the
            normalised targets, which learns faster where a question has one answer. The served score stays the
            sigmoid, so end a "ce" run with a short "bce" one where scores matter, not only their order.
        labels: "build" from the training answers, or a JSON list of answers.
        min_count: a built label occurs at least so often.
        answer_words: weight of a second loss, in which the word decoder says the answer's words at [CLS]. A model that
            was pre-trained on words answers in a tenth of the steps with it; 0 leaves it out, and the decoder too.
    """

    weight: float = 1.0
    loss: str = "bce"
    labels: str = "build"
    min_count: int = 1
    answer_words: float = 0.0

    def __post_init__(self) -> None:
        check(
            one_of("loss", self.loss, ("bce", "ce")),
            at_least("min_count", self.min_count, 1),
            at_least("answer_words", self.answer_words, 0),
        )


@dataclass(frozen=True)
class ItcRecipe:
    """Image-text contrastive learning, with a learned temperature, against all texts and pictures of all processes.

    Attributes:
        loss: "softmax" (CLIP) or "sigmoid" (SigLIP).
        queue: pairs of earlier steps that are negatives too, embedded by a slowly moving encoder; 0 has neither. For
            "softmax" alone.
        momentum: how slowly it moves, below 1.
        alpha: share of the soft targets that the slow encoder gives, 0 to 1.
    """

    weight: float = 1.0
    loss: str = "softmax"
    queue: int = 0
    momentum: float = 0.995
    alpha: float = 0.4

    def __post_init__(self) -> None:
        check(
            one_of("loss", self.loss, ("softmax", "sigmoid")),
            at_least("queue", self.queue, 0),
            (not self.queue or self.loss == "softmax", "queue: belongs to the softmax loss"),
            (0 <= self.momentum < 1, f"momentum: got {self.momentum}, expected from 0 to below 1"),
            (0 <= self.alpha <= 1, f"alpha: got {self.alpha}, expected a share from 0 to 1"),
        )


@dataclass(frozen=True)
class LmRecipe:
    """Language modelling of captions, the picture in view.

    Attributes:
        smoothing: share of the target that is spread over the whole vocabulary; 0.1 in BLIP.
        prompt: how every caption begins, which is given and not learned to be said; the model is served with it.
    """

    weight: float = 1.0
    smoothing: float = 0.0
    prompt: str = ""

    def __post_init__(self) -> None:
        check((0 <= self.smoothing < 1, f"smoothing: got {self.smoothing}, expected from 0 to below 1"))


@dataclass(frozen=True)
class PhrasesRecipe:
    """Region phrases: the patch in the middle of a region finds its phrase with its place, and the phrase the patch.

    Contrastive learning as of whole pictures, on the projected patches. `per_picture` regions are drawn in each step.
    """

    weight: float = 1.0
    per_picture: int = 2

    def __post_init__(self) -> None:
        check(at_least("per_picture", self.per_picture, 1))


@dataclass(frozen=True)
class MrmRecipe:
    """Masked region modelling: hidden regions are to be guessed from the text and the other regions.

    Attributes:
        probability: of a region to be hidden.
        features: weight of guessing its features.
        classes: weight of guessing the detector's best class.
        distribution: weight of guessing the detector's whole distribution over classes.
    """

    weight: float = 1.0
    probability: float = 0.15
    features: float = 1.0
    classes: float = 0.0
    distribution: float = 1.0

    def __post_init__(self) -> None:
        check(
            (0 < self.probability < 1, f"probability: got {self.probability}, expected between 0 and 1"),
            *(at_least(name, getattr(self, name), 0) for name in ("features", "classes", "distribution")),
            (
                self.features + self.classes + self.distribution > 0,
                "features, classes, distribution: expected one above 0",
            ),
        )


@dataclass(frozen=True)
class EntailmentRecipe:
    """Visual entailment, over the labels that the data set has; `loss` as of `VqaRecipe`."""

    weight: float = 1.0
    loss: str = "bce"

    def __post_init__(self) -> None:
        check(one_of("loss", self.loss, ("bce", "ce")))


@dataclass(frozen=True)
class ReasoningRecipe:
    """Visual reasoning: whether a statement on two pictures is true.

    Attributes:
        variant: how UNITER joins two pictures: "paired-attn", "paired" or "triplet".
    """

    weight: float = 1.0
    variant: str = "paired-attn"

    def __post_init__(self) -> None:
        check(one_of("variant", self.variant, NLVR2_VARIANTS))


@dataclass(frozen=True)
class ReferringRecipe:
    """Referring expressions: which region a phrase names."""

    weight: float = 1.0


@dataclass(frozen=True)
class ObjectivesRecipe:
    """The objectives of a run; their weighted losses are added."""

    mlm: MlmRecipe | None = None
    itm: ItmRecipe | None = None
    wpa: WpaRecipe | None = None
    vqa: VqaRecipe | None = None
    regions: RegionsRecipe | None = None
    grounding: GroundingRecipe | None = None
    itc: ItcRecipe | None = None
    phrases: PhrasesRecipe | None = None
    mrm: MrmRecipe | None = None
    entailment: EntailmentRecipe | None = None
    reasoning: ReasoningRecipe | None = None
    referring: ReferringRecipe | None = None
    lm: LmRecipe | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The objectives of the run."""
        return tuple(item.name for item in fields(self) if getattr(self, item.name) is not None)

    @property
    def decodes_words(self) -> bool:
        """Whether an objective needs the word decoder, the "mlm" head."""
        says_more = self.grounding is not None and self.grounding.unsaid + self.grounding.told > 0
        return bool(self.mlm or self.regions or says_more or (self.vqa and self.vqa.answer_words))

    def __post_init__(self) -> None:
        check(
            (bool(self.named), "expected at least one objective"),
            (self.wpa is None or self.itm is not None, "wpa: needs itm, on whose pairs it is computed"),
            (self.grounding is None or self.vqa is not None, "grounding: needs vqa, on whose questions it is computed"),
        )
