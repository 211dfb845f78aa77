"""Which examples make which batch: a pure function of seed and batch number, so that a run can resume anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


def epoch_batches(lengths: np.ndarray, batch_size: int, rng: np.random.Generator, pool_batches: int) -> np.ndarray:
    """Shuffle an epoch and sort by length inside large pools, so that a batch holds texts of nearly one length.

    Args:
        lengths: (examples,) tokens of each example.
        batch_size: examples a batch.
        rng: the only source of chance.
        pool_batches: batches of a pool; the larger, the less padding and the less random the batches.

    Returns:
        (batches, batch_size) int64. The last incomplete batch is dropped; fewer examples than a batch are repeated.
    """
    order = rng.permutation(len(lengths))
    if len(order) < batch_size:
        order = np.resize(order, batch_size)
    order = order[: len(order) // batch_size * batch_size]
    pool = batch_size * pool_batches
    batches = []
    for start in range(0, len(order), pool):
        part = order[start : start + pool]
        # Stable, so that equal lengths stay in their random order.
        part = part[np.argsort(lengths[part], kind="stable")]
        batches.append(part.reshape(-1, batch_size))
    stacked = np.concatenate(batches)
    return stacked[rng.permutation(len(stacked))]


class EpochPlan:
    """Batch number -> examples, epoch after epoch without end.

    Args:
        pick: (rng) -> examples of an epoch with their lengths; the count must be the same in every epoch.
        batch_size: examples a batch, over all processes.
        seed: of everything drawn here.
        pool_batches: as in `epoch_batches`.
    """

    def __init__(
        self,
        pick: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]],
        batch_size: int,
        *,
        seed: tuple[int, ...],
        pool_batches: int = 50,
    ) -> None:
        self._pick = pick
        self._batch_size = batch_size
        self._seed = seed
        self._pool_batches = pool_batches
        self._epoch = -1
        self._batches = np.zeros((0, batch_size), dtype=np.int64)
        self._load(0)

    @property
    def batches_per_epoch(self) -> int:
        """Batches of every epoch."""
        return len(self._batches)

    def batch(self, number: int) -> np.ndarray:
        """(batch_size,) int64, the examples of batch `number`, counted from 0 over all epochs."""
        epoch, index = divmod(number, self.batches_per_epoch)
        if epoch != self._epoch:
            self._load(epoch)
        return np.asarray(self._batches[index])

    def _load(self, epoch: int) -> None:
        rng = np.random.default_rng((*self._seed, epoch))
        examples, lengths = self._pick(rng)
        order = epoch_batches(lengths, self._batch_size, rng, self._pool_batches)
        self._batches = examples[order]
        self._epoch = epoch


def pick_per_picture(picture_of: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw at most `count` texts of every picture (0: all).

    Args:
        picture_of: (texts,) int, the picture of each text, ascending.
        count: texts a picture.
        rng: the source of chance.

    Returns:
        Indices into `picture_of`.
    """
    if count == 0:
        return np.arange(len(picture_of))
    # A random order inside each picture, of which the first `count` are kept.
    order = np.lexsort((rng.random(len(picture_of)), picture_of))
    sorted_pictures = picture_of[order]
    first = np.searchsorted(sorted_pictures, sorted_pictures, side="left")
    return order[np.arange(len(order)) - first < count]


@dataclass(frozen=True)
class GroupShares:
    """How often each group of texts is drawn, such as the types of questions.

    Attributes:
        groups: (texts,) int, the group of each text.
        weights: (groups,) float, how often a text of the group is wanted, against the others.
    """

    groups: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, names: Sequence[str], favoured: Mapping[str, float]) -> GroupShares:
        """Groups by name, all wanted equally often but those in `favoured`: name -> how many times as often."""
        known, groups = np.unique(np.array(names), return_inverse=True)
        return cls(groups, np.array([favoured.get(str(name), 1.0) for name in known]))

    def pick(self, texts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw texts, about as many as there are; which groups are among them decides how many.

        Of a large group a part is drawn; a small one is drawn again and again, each time in another order.

        Args:
            texts: numbers of texts.
            rng: the source of chance.

        Returns:
            Indices into `texts`.
        """
        groups = self.groups[texts]
        present = np.unique(groups)
        wanted = np.ceil(len(texts) * self.weights[present] / self.weights[present].sum()).astype(np.int64)
        drawn = []
        for group, count in zip(present, wanted, strict=True):
            own = np.flatnonzero(groups == group)
            drawn.append(np.concatenate([rng.permutation(own) for _ in range(-(-count // len(own)))])[:count])
        return np.concatenate(drawn) if drawn else np.zeros(0, np.int64)
