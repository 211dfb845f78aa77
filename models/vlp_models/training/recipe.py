"""A training recipe: everything that decides a run, as frozen records. Reading it from TOML is in recipe_file.py."""

from __future__ import annotations

from dataclasses import dataclass, field

from vlp_models.data.sources import FORMATS
from vlp_models.training.recipe_checks import at_least, check, one_of
from vlp_models.training.recipe_objectives import ObjectivesRecipe
from vlp_models.training.schedule import SCHEDULES

DUAL_FAMILIES = ("clip", "siglip")
WRITING_FAMILIES = ("blip", "coca")
TOWER_FAMILIES = (*DUAL_FAMILIES, *WRITING_FAMILIES)
FAMILIES = ("vilt", "uniter", *TOWER_FAMILIES)


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
        longest_text: texts of more tokens, special ones included, are left out; 0 takes all. A model that writes says
            no more than it was taught to, and of a long caption the end is wrong most often.
        answered_questions: pre-training also reads "question answer" as a caption.
        pool_batches: batches that are sorted by text length together.
        length_bucket: text lengths that differ by less than so many tokens count as equal in that.
        decode_threads: threads that decode pictures at the start.
        regions: for families that read region features: a folder with a store of regions for each split, by its name.
        max_regions: of a picture, in those families.
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
    longest_text: int = 0
    answered_questions: bool = False
    pool_batches: int = 50
    length_bucket: int = 4
    decode_threads: int = 2
    regions: str = ""
    max_regions: int = 100

    def __post_init__(self) -> None:
        check(
            one_of("format", self.format, FORMATS),
            one_of("cache", self.cache, ("memory", "disk")),
            (self.cache != "disk" or bool(self.cache_dir), 'cache_dir: needed for cache = "disk"'),
            at_least("limit", self.limit, 0),
            at_least("texts_per_picture", self.texts_per_picture, 0),
            at_least("longest_text", self.longest_text, 0),
            (self.favour > 0, f"favour: got {self.favour}, expected more than 0"),
            (not self.favoured_types or self.balance_types, "favoured_types: needs balance_types"),
            at_least("pool_batches", self.pool_batches, 1),
            at_least("length_bucket", self.length_bucket, 1),
            at_least("decode_threads", self.decode_threads, 1),
            at_least("max_regions", self.max_regions, 1),
        )


@dataclass(frozen=True)
class ImageRecipe:
    """The image processor's settings; `blind` shows one grey picture instead of every picture.

    Families with `model.towers` take the last three alone: pictures are squares of `towers.image_size`.

    Attributes:
        moved_pixels: those families move pictures while training, by chance and by so many pixels at most; see
            PairObjectives. 0 leaves them.
    """

    shorter_edge: int = 384
    longer_edge: int = 639
    patch_size: int = 32
    size_divisor: int = 32
    resample: str = "bicubic"
    blind: bool = False
    moved_pixels: int = 0

    def __post_init__(self) -> None:
        check(
            at_least("shorter_edge", self.shorter_edge, self.size_divisor),
            at_least("longer_edge", self.longer_edge, self.shorter_edge),
            at_least("moved_pixels", self.moved_pixels, 0),
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
    """The shape of a family with a picture side and a text side: sizes in pixels, widths, blocks and attention heads.

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
        family: "vilt"; "uniter", which reads `data.regions`; or the dual encoders "clip" and "siglip" and the writing
            "blip" and "coca", whose shape is in `towers`. Of the pictures' size, which is prepared before the
            checkpoint is read, `init` and `towers` must say the same.
        shares_text: BLIP's: encoder and decoder have all but self-attention in common, as it pre-trains.
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
    shares_text: bool = False
    towers: TowersRecipe | None = None

    def __post_init__(self) -> None:
        needs_towers = self.family in TOWER_FAMILIES
        check(
            one_of("family", self.family, FAMILIES),
            (needs_towers == (self.towers is not None), f"towers: belongs to {', '.join(TOWER_FAMILIES)}, and there"),
            (not self.shares_text or self.family == "blip", "shares_text: belongs to blip"),
            at_least("grow_layers", self.grow_layers, 0),
            (not self.grow_layers or bool(self.init), "grow_layers: needs init, the model that grows"),
            (not self.reset_positions or bool(self.init), "reset_positions: needs init, whose positions they replace"),
            (not self.grow_layers or self.family == "vilt", "grow_layers: belongs to vilt"),
            (not self.reset_positions or self.family == "vilt", "reset_positions: belongs to vilt"),
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
        itc, itm, vqa, lm = self.objectives.itc, self.objectives.itm, self.objectives.vqa, self.objectives.lm
        wanted_loss = "sigmoid" if family == "siglip" else "softmax"
        check(
            at_least("seed", self.seed, 0),
            at_least("log_every", self.log_every, 1),
            ((family == "uniter") == bool(self.data.regions), "data.regions: belongs to uniter, and there"),
            (named <= set(known), f"objectives: {family} has {', '.join(known)}; got {', '.join(sorted(named))}"),
            (
                family not in _SERVED_BY or bool(named & set(_SERVED_BY[family])),
                f"objectives: {family} needs one of {', '.join(_SERVED_BY.get(family, ()))}, by which it is served",
            ),
            (
                not self.image.moved_pixels or family in TOWER_FAMILIES,
                f"image.moved_pixels: belongs to {', '.join(TOWER_FAMILIES)}",
            ),
            (lm is None or not lm.prompt or family == "blip", "objectives.lm.prompt: belongs to blip"),
            (family == "vilt" or itm is None or not itm.words, "objectives.itm.words: belongs to vilt"),
            (family == "vilt" or vqa is None or not vqa.answer_words, "objectives.vqa.answer_words: belongs to vilt"),
            (
                itc is None or itc.loss == wanted_loss,
                f"objectives.itc.loss: {family} is served as it is trained, by {wanted_loss}",
            ),
        )


# What the families can be trained on.
_OBJECTIVES = {
    "vilt": ("mlm", "itm", "wpa", "vqa", "regions", "grounding"),
    "uniter": ("mlm", "itm", "wpa", "mrm", "vqa", "entailment", "reasoning", "referring"),
    "dual": ("itc", "regions", "phrases"),
    "blip": ("lm", "itc", "itm", "regions"),
    "coca": ("lm", "itc", "regions"),
}
# At least one of these makes a model that can be served; the others go along.
_SERVED_BY = {"blip": ("lm", "itc", "itm"), "coca": ("lm", "itc")}
