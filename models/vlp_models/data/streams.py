"""Batches of the training data, each a pure function of its number.

A stream draws the whole batch of all processes and hands out one process's rows, so that two processes with half
the batch each see exactly what one process with the whole batch sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from vlp_spec.errors import ArtifactError

from vlp_models.data.epochs import EpochPlan, GroupShares, pick_per_picture
from vlp_models.data.labels import TargetStore
from vlp_models.data.masking import IGNORED, MaskingRule, PlausibleWords, mask_tokens
from vlp_models.data.matching import FalseText, FalseTexts, label_words, with_false_texts
from vlp_models.data.negatives import draw_false_pictures
from vlp_models.data.tokens import SpecialTokens, TokenStore

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class BatchShape:
    """How batches are cut.

    Attributes:
        batch_size: rows of one process.
        rank: this process, from 0.
        processes: how many there are.
        micro_batches: batches whose gradients are added up for one step of the optimizer.
        pool_batches: batches sorted by length together.
        length_bucket: lengths that differ by less than so many tokens count as equal. Exact sorting pads least, but
            questions of one length are often of one type, and batches of one type teach badly.
        seed: of everything drawn.
        texts_per_picture: texts drawn of each picture and epoch; 0 takes all.
        longest_text: tokens of the longest texts that are drawn; 0 draws all.
    """

    batch_size: int
    rank: int = 0
    processes: int = 1
    micro_batches: int = 1
    pool_batches: int = 50
    length_bucket: int = 4
    seed: int = 0
    texts_per_picture: int = 0
    longest_text: int = 0

    @property
    def global_size(self) -> int:
        """Rows of all processes."""
        return self.batch_size * self.processes

    @property
    def rows(self) -> slice:
        """Rows of this process in the whole batch."""
        return slice(self.rank * self.batch_size, (self.rank + 1) * self.batch_size)

    def step_of(self, number: int) -> range:
        """The batches of the optimizer's step that batch `number` belongs to."""
        first = number - number % self.micro_batches
        return range(first, first + self.micro_batches)

    def mean_scale(self, count: int) -> np.ndarray:
        """The factor, () float32, by which sums over the rows of a process and batch become a mean over a step.

        Gradients are averaged over processes and over the batches of a step.

        Args:
            count: what is averaged over, in all batches of the step and all processes.
        """
        return np.array(self.processes * self.micro_batches / max(1, count), dtype=np.float32)


class BatchStream(Protocol):
    """What the trainer draws from."""

    name: str

    def batch(self, number: int) -> Arrays:
        """Rows of this process in batch `number`, counted from 0 over all epochs."""
        ...

    @property
    def batches_per_epoch(self) -> int:
        """Batches of every epoch."""
        ...


def plan_texts(
    tokens: TokenStore,
    examples: np.ndarray,
    picture_of: np.ndarray,
    shape: BatchShape,
    *,
    key: int,
    shares: GroupShares | None = None,
) -> EpochPlan:
    """Batches of texts of like lengths.

    Args:
        tokens: all texts.
        examples: those to take.
        picture_of: (texts,) the picture of each.
        shape: how batches are cut.
        key: sets the plans of one run apart.
        shares: how often the groups of texts are drawn; None takes every text once.

    Raises:
        ArtifactError: every text is longer than those that are drawn.
    """
    if shape.longest_text:
        given, examples = examples, examples[tokens.lengths[examples] <= shape.longest_text]
        if not len(examples):
            raise ArtifactError(
                f"data.longest_text: all {len(given)} texts have more than {shape.longest_text} tokens; raise it"
            )
    lengths = -(-tokens.lengths // shape.length_bucket)

    def pick(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        chosen = examples[pick_per_picture(picture_of[examples], shape.texts_per_picture, rng)]
        if shares is not None:
            chosen = chosen[shares.pick(chosen, rng)]
        return chosen, lengths[chosen]

    return EpochPlan(pick, shape.global_size, seed=(shape.seed, key), pool_batches=shape.pool_batches)


class Pictures(Protocol):
    """A split's pictures as a family's model takes them: patches, or regions with their features."""

    def arrays(self, indices: np.ndarray) -> Arrays:
        """Of some pictures (B,), padded to the largest, by name of the model's inputs."""
        ...


class NamedPatches(Protocol):
    """The patches that the words of texts name; vlp_models.data.grounding has them."""

    def gather(self, texts: np.ndarray, num_slots: int) -> Arrays:
        """Of some texts (B,), in a batch that is padded to `num_slots` patches."""
        ...

    def count(self, texts: np.ndarray) -> dict[str, int]:
        """Over how many each loss of some texts is a mean, where that is not the texts."""
        ...


class QuestionStream:
    """Questions, or other sentences about a picture, with soft targets over labels.

    Args:
        pictures: the split's pictures.
        tokens: one text a question.
        picture_of: (questions,) the picture of each.
        targets: their answers.
        shape: how batches are cut.
        shares: how often each type of question is asked; None takes them as they come.
        named: the patches that words name, where an objective wants them.
        name: of the stream.

    Batches: the pictures' arrays (of ViLT patches (B, N, P*P*3) uint8 and grid (B, 2) int32), input_ids and text_mask
    (B, T) int32, targets (B, labels) float32; with `named`, what `NamedPatches.gather` gives and ground_*_scale ()
    float32, the factor that turns each summed loss into its share of the mean over the whole step. Questions without
    an accepted answer among the labels are left out.
    """

    def __init__(
        self,
        pictures: Pictures,
        tokens: TokenStore,
        picture_of: np.ndarray,
        targets: TargetStore,
        shape: BatchShape,
        *,
        shares: GroupShares | None = None,
        named: NamedPatches | None = None,
        name: str = "questions",
    ) -> None:
        self.name = name
        self._pictures, self._tokens, self._picture_of = pictures, tokens, picture_of
        self._targets, self._shape, self._named = targets, shape, named
        answerable = np.flatnonzero(targets.is_answerable)
        self._plan = plan_texts(tokens, answerable, picture_of, shape, key=1, shares=shares)

    @property
    def batches_per_epoch(self) -> int:
        """Batches of every epoch."""
        return self._plan.batches_per_epoch

    def batch(self, number: int) -> Arrays:
        """Rows of this process in batch `number`."""
        mine = self._plan.batch(number)[self._shape.rows]
        input_ids, text_mask = self._tokens.gather(mine)
        pictures = self._pictures.arrays(self._picture_of[mine])
        batch = {**pictures, "input_ids": input_ids, "text_mask": text_mask, "targets": self._targets.gather(mine)}
        if self._named is not None:
            batch |= self._what_is_named(self._named, number, mine, pictures["patches"].shape[1])
        return batch

    def _what_is_named(self, named: NamedPatches, number: int, mine: np.ndarray, num_slots: int) -> Arrays:
        step = np.concatenate([self._plan.batch(other) for other in self._shape.step_of(number)])
        scales = {f"ground_{name}_scale": self._shape.mean_scale(count) for name, count in named.count(step).items()}
        return named.gather(mine, num_slots) | scales


@dataclass(frozen=True)
class CaptionObjectives:
    """Which arrays a caption batch carries.

    Attributes:
        masking: masked language modelling; None = not wanted.
        negatives: "random", "hard", or "" = no image-text matching.
        itm_every: matching in every so many steps.
        false_texts: share of the false pairs in which the text is made false and the picture stays.
    """

    masking: MaskingRule | None = field(default_factory=MaskingRule)
    negatives: str = ""
    itm_every: int = 1
    false_texts: float = 0.0


class CaptionStream:
    """Captions with hidden words and, for matching, with true or false pictures.

    Args:
        pictures: the split's pictures.
        tokens: one text a caption.
        picture_of: (captions,) the picture of each.
        special: the tokenizer's special ids.
        wanted: which objectives' arrays to draw.
        shape: how batches are cut.
        false_texts: makes them; needed for `wanted.false_texts`.

    Batches, for masked language modelling: mlm_ids and mlm_targets (B, T), mlm_scale () float32, the factor that
    turns the summed loss into its share of the mean over the predicted words of the whole step, in all its batches and
    processes, and the pictures' arrays. For matching: itm_labels (B,), itm_ids, itm_mask, itm_words (B, T) int64 (see
    `label_words`), and the shown pictures' arrays, "itm_" before their names. Always: input_ids and text_mask.
    """

    name = "captions"

    def __init__(
        self,
        pictures: Pictures,
        tokens: TokenStore,
        picture_of: np.ndarray,
        *,
        special: SpecialTokens,
        wanted: CaptionObjectives,
        shape: BatchShape,
        false_texts: FalseTexts | None = None,
    ) -> None:
        self._pictures, self._tokens, self._picture_of = pictures, tokens, picture_of
        self._special, self._wanted, self._shape = special, wanted, shape
        self._false_texts = false_texts
        self._plan = plan_texts(tokens, np.arange(len(tokens)), picture_of, shape, key=2)
        wants_words = wanted.masking is not None and wanted.masking.replacement == "plausible"
        self._plausible = PlausibleWords.of(tokens, special) if wants_words else None
        self._counted = range(0), 0

    @property
    def batches_per_epoch(self) -> int:
        """Batches of every epoch."""
        return self._plan.batches_per_epoch

    def batch(self, number: int) -> Arrays:
        """Rows of this process in batch `number`."""
        everyone, rows = self._plan.batch(number), self._shape.rows
        input_ids, text_mask = self._tokens.gather(everyone)
        pictures = self._picture_of[everyone]
        arrays: Arrays = {"input_ids": input_ids[rows], "text_mask": text_mask[rows]}
        rng = self._rng(number)
        if self._wanted.masking is not None:
            masked, targets = self._mask(input_ids, text_mask, self._wanted.masking, rng)
            arrays["mlm_ids"], arrays["mlm_targets"] = masked[rows], targets[rows]
            arrays["mlm_scale"] = self._shape.mean_scale(self._count_predicted(number, targets, self._wanted.masking))
            arrays |= self._pictures.arrays(pictures[rows])
        step = number // self._shape.micro_batches
        if self._wanted.negatives and step % self._wanted.itm_every == 0:
            shown, labels = draw_false_pictures(pictures, input_ids, text_mask, self._wanted.negatives, rng)
            given = self._draw_false_texts(everyone, labels, rng)
            shown = np.where(np.isin(np.arange(len(shown)), list(given)), pictures, shown)
            ids, mask = with_false_texts(input_ids, text_mask, given, self._tokens.pad_id)
            arrays |= {f"itm_{name}": array for name, array in self._pictures.arrays(shown[rows]).items()}
            arrays["itm_labels"], arrays["itm_ids"], arrays["itm_mask"] = labels[rows], ids[rows], mask[rows]
            arrays["itm_words"] = label_words(labels, mask, given)[rows]
        return arrays

    def _rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng((self._shape.seed, 3, number))

    def _mask(
        self, input_ids: np.ndarray, text_mask: np.ndarray, rule: MaskingRule, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        return mask_tokens(input_ids, text_mask, self._special, rule, rng, self._plausible)

    def _count_predicted(self, number: int, targets: np.ndarray, rule: MaskingRule) -> int:
        """Words to be predicted in the whole step of a batch, given its own; kept for the step's other batches."""
        step = self._shape.step_of(number)
        if self._counted[0] != step:
            drawn = [targets]
            for other in step:
                if other != number:
                    texts = self._tokens.gather(self._plan.batch(other))
                    drawn.append(self._mask(*texts, rule, self._rng(other))[1])
            self._counted = step, sum(int((words != IGNORED).sum()) for words in drawn)
        return self._counted[1]

    def _draw_false_texts(
        self, texts: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> dict[int, FalseText]:
        """Row -> the false text that stands there instead of a false picture."""
        if self._false_texts is None or not self._wanted.false_texts:
            return {}
        is_wanted = (rng.random(len(texts)) < self._wanted.false_texts) & (labels == 0)
        seeds = rng.integers(0, 2**62, size=len(texts))
        made = {row: self._false_texts.make(int(texts[row]), int(seeds[row])) for row in np.flatnonzero(is_wanted)}
        return {int(row): text for row, text in made.items() if text is not None}


def caption_texts(
    captions: Sequence[str], questions: Sequence[tuple[str, str]], *, with_answers: bool
) -> tuple[str, ...]:
    """A picture's texts for pre-training: its captions, and on wish every question followed by its answer."""
    answered = tuple(f"{question} {answer}" for question, answer in questions) if with_answers else ()
    return (*captions, *answered)
