"""A training recipe: everything that decides a run, as frozen records. Reading it from TOML is in recipe_file.py."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from vlp_models.data.masking import REPLACEMENTS
from vlp_models.data.negatives import NEGATIVES
from vlp_models.data.sources import FORMATS
from vlp_models.training.recipe_checks import at_least, check, one_of
from vlp_models.training.schedule import SCHEDULES

DUAL_FAMILIES = ("clip", "siglip")
FAMILIES = ("vilt", *DUAL_FAMILIES)


@dataclass(frozen=True)
class DataRecipe:
    """Where the examples come from.

    Attributes:
        root: dataset folder; a relative path starts at the working directory.
        format: "jsonl", "shards" or "auto".
        cache: "memory" keeps prepared pictures in memory; "disk" in a mapped file in `cache_dir`, for data that is
            larger than memory or shared by several processes.
        limit: read at most this many training pictures; 0 reads all.
        texts_per_picture: questions (and captions) drawn of each picture in an epoch; 0 takes all.
        balance_types: every type of question is asked equally often in an epoch, as an average over types weighs them;
            some questions then come several times, and others not in every epoch.
        favoured_types: types that are asked `favour` times as often as the others.
        answered_questions: pre-training also reads "question answer" as a caption.
        pool_batches: batches that are sorted by text length together.
        length_bucket: text lengths that differ by less than so many tokens count as equal in that.
        decode_threads: threads that decode pictures at the start.
    """

    root: str
    format: str = "auto"
    train_split: str = "train"
    eval_split: str = "val"
    cache: str = "memory"
    cache_dir: str = ""
    limit: int = 0
    texts_per_picture: int = 0
    balance_types: bool = False
    favoured_types: tuple[str, ...] = ()
    favour: float = 2.0
    answered_questions: bool = False
    pool_batches: int = 50
    length_bucket: int = 4
    decode_threads: int = 2

    def __post_init__(self) -> None:
        check(
            one_of("format", self.format, FORMATS),
            one_of("cache", self.cache, ("memory", "disk")),
            (self.cache != "disk" or bool(self.cache_dir), 'cache_dir: needed for cache = "disk"'),
            at_least("limit", self.limit, 0),
            at_least("texts_per_picture", self.texts_per_picture, 0),
            (self.favour > 0, f"favour: got {self.favour}, expected more than 0"),
            (not self.favoured_types or self.balance_types, "favoured_types: needs balance_types"),
            at_least("pool_batches", self.pool_batches, 1),
            at_least("length_bucket", self.length_bucket, 1),
            at_least("decode_threads", self.decode_threads, 1),
        )


@dataclass(frozen=True)
class ImageRecipe:
    """The image processor's settings; `blind` shows one grey picture instead of every picture.

    A dual encoder takes `resample` and `blind` alone: its pictures are squares of `model.towers.image_size`.
    """

    shorter_edge: int = 384
    longer_edge: int = 639
    patch_size: int = 32
    size_divisor: int = 32
    resample: str = "bicubic"
    blind: bool = False

    def __post_init__(self) -> None:
        check(
            at_least("shorter_edge", self.shorter_edge, self.size_divisor),
            at_least("longer_edge", self.longer_edge, self.shorter_edge),
            (
                self.patch_size > 0 and self.size_divisor % self.patch_size == 0,
                f"size_divisor: got {self.size_divisor}, expected a multiple of patch_size {self.patch_size}",
            ),
        )


@dataclass(frozen=True)
class TextRecipe:
    """The tokenizer: "build" learns a WordPiece vocabulary from the training texts, else a tokenizer.json."""

    tokenizer: str = "build"
    vocab_size: int = 8000
    lowercase: bool = True
    max_length: int = 40

    def __post_init__(self) -> None:
        check(at_least("vocab_size", self.vocab_size, 100), at_least("max_length", self.max_length, 3))


@dataclass(frozen=True)
class TowersRecipe:
    """The shape of a dual encoder: sizes in pixels, widths, blocks and attention heads of both towers.

    Attributes:
        dimension: numbers in an embedding; SigLIP's must be `image_width`.
    """

    image_size: int = 224
    patch_size: int = 32
    image_width: int = 768
    image_layers: int = 12
    image_heads: int = 12
    text_width: int = 512
    text_layers: int = 12
    text_heads: int = 8
    dimension: int = 512

    def __post_init__(self) -> None:
        check(
            at_least("patch_size", self.patch_size, 1),
            (
                self.image_size >= self.patch_size > 0 and self.image_size % self.patch_size == 0,
                f"image_size: got {self.image_size}, expected a multiple of patch_size {self.patch_size}",
            ),
        )


@dataclass(frozen=True)
class ModelRecipe:
    """The model: its shape, or `init`, a checkpoint to start from (whose shape and tokenizer then hold).

    Attributes:
        grow_layers: ViLT's: blocks put on top of those of `init`; they start as identities.
        family: "vilt", or the dual encoders "clip" and "siglip", whose shape is in `towers`. Of the pictures' size,
            which is prepared before the checkpoint is read, `init` and `towers` must say the same.
        image_size: ViLT's: the square, in pixels, that the learned position grid stands for; 0 takes the shorter edge.
    """

    init: str = ""
    grow_layers: int = 0
    reset_positions: bool = False
    family: str = "vilt"
    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    dropout: float = 0.1
    image_size: int = 0
    towers: TowersRecipe | None = None

    def __post_init__(self) -> None:
        needs_towers = self.family in DUAL_FAMILIES
        check(
            one_of("family", self.family, FAMILIES),
            (needs_towers == (self.towers is not None), f"towers: belongs to {' and '.join(DUAL_FAMILIES)}, and there"),
            at_least("grow_layers", self.grow_layers, 0),
            (not self.grow_layers or bool(self.init), "grow_layers: needs init, the model that grows"),
            (not self.reset_positions or bool(self.init), "reset_positions: needs init, whose positions they replace"),
            (not self.grow_layers or not needs_towers, "grow_layers: belongs to vilt"),
            (not self.reset_positions or not needs_towers, "reset_positions: belongs to vilt"),
        )


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
        negatives: "random" pictures of the batch, or "hard" ones, whose texts share words with this one.
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
class PhrasesRecipe:
    """Region phrases: the patch in the middle of a region finds its phrase with its place, and the phrase the patch.

    Contrastive learning as of whole pictures, on the projected patches. `per_picture` regions are drawn in each step.
    """

    weight: float = 1.0
    per_picture: int = 2

    def __post_init__(self) -> None:
        check(at_least("per_picture", self.per_picture, 1))


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
            (bool(self.named), "expected at least one of mlm, itm, vqa, regions, itc, phrases"),
            (self.wpa is None or self.itm is not None, "wpa: needs itm, on whose pairs it is computed"),
            (self.grounding is None or self.vqa is not None, "grounding: needs vqa, on whose questions it is computed"),
        )


@dataclass(frozen=True)
class OptimisationRecipe:
    """How weights move.

    Attributes:
        batch_size: rows a process and micro-batch.
        grad_accumulation: micro-batches a step.
        schedule: "cosine", "linear", "trapezoid" or "constant"; see `lr_factor`.
        warmup: share of the run in which the rate rises, 0 to 1.
        decay: share of the run in which the rate of a trapezoid falls, above 0 to 1.
        max_steps: length of the run; 0 = by time.
        max_minutes: length of the run by the clock; the schedule then follows the clock. 0 = by steps.
        head_lr_factor: the heads' learning rate over `lr`.
        ema_decay: average of the weights that is evaluated and kept as the result; 0 = none.
    """

    lr: float = 1e-4
    schedule: str = "cosine"
    warmup: float = 0.1
    decay: float = 0.3
    weight_decay: float = 0.01
    betas: tuple[float, ...] = (0.9, 0.98)
    eps: float = 1e-8
    grad_clip: float = 1.0
    batch_size: int = 64
    grad_accumulation: int = 1
    max_steps: int = 0
    max_minutes: float = 0.0
    head_lr_factor: float = 1.0
    ema_decay: float = 0.0

    def __post_init__(self) -> None:
        check(
            one_of("schedule", self.schedule, SCHEDULES),
            (self.lr > 0, f"lr: got {self.lr}, expected above 0"),
            (0 <= self.warmup < 1, f"warmup: got {self.warmup}, expected a share from 0 to below 1"),
            (0 < self.decay <= 1, f"decay: got {self.decay}, expected a share above 0, 1 at most"),
            (len(self.betas) == 2, f"betas: got {len(self.betas)} numbers, expected 2"),
            (0 <= self.ema_decay < 1, f"ema_decay: got {self.ema_decay}, expected from 0 to below 1"),
            (
                (self.max_steps > 0) != (self.max_minutes > 0),
                f"max_steps {self.max_steps}, max_minutes {self.max_minutes}: expected exactly one above 0",
            ),
            at_least("batch_size", self.batch_size, 1),
            at_least("grad_accumulation", self.grad_accumulation, 1),
        )


@dataclass(frozen=True)
class ComputeRecipe:
    """What the run does with the machine. num_threads 0 leaves torch's choice."""

    precision: str = "fp32"
    num_threads: int = 0
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        check(one_of("precision", self.precision, ("fp32", "bf16")), at_least("num_threads", self.num_threads, 0))


@dataclass(frozen=True)
class CheckpointRecipe:
    """Resumable checkpoints: every so many steps (0: only at the end or on a stop), the newest `keep` stay."""

    every: int = 1000
    keep: int = 2

    def __post_init__(self) -> None:
        check(at_least("every", self.every, 0), at_least("keep", self.keep, 1))


@dataclass(frozen=True)
class EvaluationRecipe:
    """Evaluation on the eval split while training: every so many steps (0: never), on at most `limit` pictures."""

    every: int = 1000
    limit: int = 500

    def __post_init__(self) -> None:
        check(at_least("every", self.every, 0), at_least("limit", self.limit, 1))


@dataclass(frozen=True)
class Recipe:
    """A whole run.

    Attributes:
        name: of the run; the default output folder is runs/<name>.
        freeze: parameters that stay as they are, as shell patterns ("text_embeddings.*").
        log_every: steps between two lines of log.jsonl.
    """

    name: str
    data: DataRecipe
    objectives: ObjectivesRecipe
    optimisation: OptimisationRecipe
    image: ImageRecipe = field(default_factory=ImageRecipe)
    text: TextRecipe = field(default_factory=TextRecipe)
    model: ModelRecipe = field(default_factory=ModelRecipe)
    compute: ComputeRecipe = field(default_factory=ComputeRecipe)
    checkpoint: CheckpointRecipe = field(default_factory=CheckpointRecipe)
    evaluation: EvaluationRecipe = field(default_factory=EvaluationRecipe)
    freeze: tuple[str, ...] = ()
    seed: int = 0
    log_every: int = 20

    def __post_init__(self) -> None:
        family, named = self.model.family, set(self.objectives.named)
        known = _OBJECTIVES["dual" if family in DUAL_FAMILIES else family]
        itc = self.objectives.itc
        wanted_loss = "sigmoid" if family == "siglip" else "softmax"
        check(
            at_least("seed", self.seed, 0),
            at_least("log_every", self.log_every, 1),
            (named <= set(known), f"objectives: {family} has {', '.join(known)}; got {', '.join(sorted(named))}"),
            (
                family not in DUAL_FAMILIES or itc is None or itc.loss == wanted_loss,
                f"objectives.itc.loss: {family} is served as it is trained, by {wanted_loss}",
            ),
        )


# What the families can be trained on.
_OBJECTIVES = {"vilt": ("mlm", "itm", "wpa", "vqa", "regions", "grounding"), "dual": ("itc", "regions", "phrases")}
