"""A training recipe: everything that decides a run, as frozen records. Reading it from TOML is in recipe_file.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from vlp_spec.errors import ConfigError

from vlp_models.data.masking import REPLACEMENTS
from vlp_models.data.negatives import NEGATIVES
from vlp_models.data.sources import FORMATS
from vlp_models.training.schedule import SCHEDULES


def _check(*conditions: tuple[bool, str]) -> None:
    if faults := [message for holds, message in conditions if not holds]:
        raise ConfigError(faults)


def _one_of(name: str, value: str, known: tuple[str, ...]) -> tuple[bool, str]:
    return value in known, f"{name}: got {value!r}, expected one of {', '.join(known)}"


def _at_least(name: str, value: float, least: float) -> tuple[bool, str]:
    return value >= least, f"{name}: got {value}, expected at least {least}"


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
    answered_questions: bool = False
    pool_batches: int = 50
    length_bucket: int = 4
    decode_threads: int = 2

    def __post_init__(self) -> None:
        _check(
            _one_of("format", self.format, FORMATS),
            _one_of("cache", self.cache, ("memory", "disk")),
            (self.cache != "disk" or bool(self.cache_dir), 'cache_dir: needed for cache = "disk"'),
            _at_least("limit", self.limit, 0),
            _at_least("texts_per_picture", self.texts_per_picture, 0),
            _at_least("pool_batches", self.pool_batches, 1),
            _at_least("length_bucket", self.length_bucket, 1),
            _at_least("decode_threads", self.decode_threads, 1),
        )


@dataclass(frozen=True)
class ImageRecipe:
    """The image processor's settings; `blind` shows one grey picture instead of every picture."""

    shorter_edge: int = 384
    longer_edge: int = 639
    patch_size: int = 32
    size_divisor: int = 32
    resample: str = "bicubic"
    blind: bool = False

    def __post_init__(self) -> None:
        _check(
            _at_least("shorter_edge", self.shorter_edge, self.size_divisor),
            _at_least("longer_edge", self.longer_edge, self.shorter_edge),
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
        _check(_at_least("vocab_size", self.vocab_size, 100), _at_least("max_length", self.max_length, 3))


@dataclass(frozen=True)
class ModelRecipe:
    """The model: its shape, or `init`, a checkpoint to start from (whose shape and tokenizer then hold).

    Attributes:
        grow_layers: blocks put on top of those of `init`; they start as identities.
        image_size: the square, in pixels, that the learned position grid stands for; 0 takes the shorter edge.
    """

    init: str = ""
    grow_layers: int = 0
    family: str = "vilt"
    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 12
    mlp_ratio: float = 4.0
    dropout: float = 0.1
    image_size: int = 0

    def __post_init__(self) -> None:
        _check(
            _one_of("family", self.family, ("vilt",)),
            _at_least("grow_layers", self.grow_layers, 0),
            (not self.grow_layers or bool(self.init), "grow_layers: needs init, the model that grows"),
        )


@dataclass(frozen=True)
class MlmRecipe:
    """Masked language modelling."""

    weight: float = 1.0
    probability: float = 0.15
    whole_words: bool = True
    replacement: str = "bert"

    def __post_init__(self) -> None:
        _check(
            _one_of("replacement", self.replacement, REPLACEMENTS),
            (0 < self.probability < 1, f"probability: got {self.probability}, expected between 0 and 1"),
        )


@dataclass(frozen=True)
class ItmRecipe:
    """Image-text matching, in every `every`-th step."""

    weight: float = 1.0
    negatives: str = "random"
    every: int = 1

    def __post_init__(self) -> None:
        _check(_one_of("negatives", self.negatives, NEGATIVES), _at_least("every", self.every, 1))


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
        _check(
            _one_of("loss", self.loss, ("bce", "ce")),
            _at_least("min_count", self.min_count, 1),
            _at_least("answer_words", self.answer_words, 0),
        )


@dataclass(frozen=True)
class ObjectivesRecipe:
    """The objectives of a run; their weighted losses are added."""

    mlm: MlmRecipe | None = None
    itm: ItmRecipe | None = None
    wpa: WpaRecipe | None = None
    vqa: VqaRecipe | None = None
    regions: RegionsRecipe | None = None

    @property
    def decodes_words(self) -> bool:
        """Whether an objective needs the word decoder, the "mlm" head."""
        return bool(self.mlm or self.regions or (self.vqa and self.vqa.answer_words))

    def __post_init__(self) -> None:
        _check(
            (
                bool(self.mlm or self.itm or self.vqa or self.regions),
                "expected at least one of mlm, itm, vqa, regions",
            ),
            (self.wpa is None or self.itm is not None, "wpa: needs itm, on whose pairs it is computed"),
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
        _check(
            _one_of("schedule", self.schedule, SCHEDULES),
            (self.lr > 0, f"lr: got {self.lr}, expected above 0"),
            (0 <= self.warmup < 1, f"warmup: got {self.warmup}, expected a share from 0 to below 1"),
            (0 < self.decay <= 1, f"decay: got {self.decay}, expected a share above 0, 1 at most"),
            (len(self.betas) == 2, f"betas: got {len(self.betas)} numbers, expected 2"),
            (0 <= self.ema_decay < 1, f"ema_decay: got {self.ema_decay}, expected from 0 to below 1"),
            (
                (self.max_steps > 0) != (self.max_minutes > 0),
                f"max_steps {self.max_steps}, max_minutes {self.max_minutes}: expected exactly one above 0",
            ),
            _at_least("batch_size", self.batch_size, 1),
            _at_least("grad_accumulation", self.grad_accumulation, 1),
        )


@dataclass(frozen=True)
class ComputeRecipe:
    """What the run does with the machine. num_threads 0 leaves torch's choice."""

    precision: str = "fp32"
    num_threads: int = 0
    gradient_checkpointing: bool = False

    def __post_init__(self) -> None:
        _check(_one_of("precision", self.precision, ("fp32", "bf16")), _at_least("num_threads", self.num_threads, 0))


@dataclass(frozen=True)
class CheckpointRecipe:
    """Resumable checkpoints: every so many steps (0: only at the end or on a stop), the newest `keep` stay."""

    every: int = 1000
    keep: int = 2

    def __post_init__(self) -> None:
        _check(_at_least("every", self.every, 0), _at_least("keep", self.keep, 1))


@dataclass(frozen=True)
class EvaluationRecipe:
    """Evaluation on the eval split while training: every so many steps (0: never), on at most `limit` pictures."""

    every: int = 1000
    limit: int = 500

    def __post_init__(self) -> None:
        _check(_at_least("every", self.every, 0), _at_least("limit", self.limit, 1))


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
        _check(_at_least("seed", self.seed, 0), _at_least("log_every", self.log_every, 1))
