from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from vlp_models.data.epochs import EpochPlan, GroupShares, epoch_batches, pick_per_picture


@given(count=st.integers(1, 60), batch_size=st.integers(1, 9), pool=st.integers(1, 4), seed=st.integers(0, 99))
def test_an_epoch_has_every_example_at_most_once(count: int, batch_size: int, pool: int, seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(3, 20, size=count)
    batches = epoch_batches(lengths, batch_size, np.random.default_rng(seed), pool)
    assert batches.shape == (max(1, count // batch_size), batch_size)
    if count >= batch_size:
        assert len(np.unique(batches)) == batches.size


def test_batches_hold_texts_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(3, 40, size=640)
    sorted_batches = epoch_batches(lengths, 8, np.random.default_rng(1), pool_batches=40)
    random_batches = epoch_batches(lengths, 8, np.random.default_rng(1), pool_batches=1)

    def padding(batches: np.ndarray) -> float:
        found = lengths[batches]
        return float(1 - found.sum() / (found.max(axis=1) * 8).sum())

    assert padding(sorted_batches) < 0.05 < 0.3 < padding(random_batches)


def _plan(seed: int) -> EpochPlan:
    return EpochPlan(lambda rng: (np.arange(10), np.ones(10)), 3, seed=(seed, 1))


def test_any_batch_can_be_asked_for_at_once() -> None:
    in_order, jumping = _plan(4), _plan(4)
    wanted = [in_order.batch(number).tolist() for number in range(9)]
    assert [jumping.batch(number).tolist() for number in (8, 0, 4)] == [wanted[8], wanted[0], wanted[4]]
    assert in_order.batches_per_epoch == 3


def test_epochs_and_seeds_differ() -> None:
    plan = _plan(4)
    first_epoch = [plan.batch(number).tolist() for number in range(3)]
    assert first_epoch != [plan.batch(number).tolist() for number in range(3, 6)]
    assert first_epoch != [_plan(5).batch(number).tolist() for number in range(3)]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.integers(1, 3), st.integers(0, 9))
def test_texts_are_drawn_of_every_picture(texts_of: list[int], count: int, seed: int) -> None:
    picture_of = np.repeat(np.arange(len(texts_of)), texts_of)
    chosen = pick_per_picture(picture_of, count, np.random.default_rng(seed))
    per_picture = np.bincount(picture_of[chosen], minlength=len(texts_of))
    assert per_picture.tolist() == [min(count, texts) for texts in texts_of]
    assert len(set(chosen.tolist())) == len(chosen)
    assert pick_per_picture(picture_of, 0, np.random.default_rng(seed)).tolist() == list(range(len(picture_of)))


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    favour=st.sampled_from([0.5, 1.0, 3.0]),
    seed=st.integers(0, 99),
)
def test_groups_are_drawn_as_often_as_they_are_wanted(counts: list[int], favour: float, seed: int) -> None:
    names = [f"type {group}" for group, count in enumerate(counts) for _ in range(count)]
    shares = GroupShares.of(names, {"type 0": favour})
    texts = np.arange(len(names))
    drawn = texts[shares.pick(texts, np.random.default_rng(seed))]
    assert len(drawn) == len(shares.pick(texts, np.random.default_rng(seed + 1)))
    weights = np.array([favour, *[1.0] * (len(counts) - 1)])
    for group, share in enumerate(weights / weights.sum()):
        own = [text for text in drawn if names[text] == f"type {group}"]
        assert len(own) == int(np.ceil(len(names) * share))
        times = np.bincount(own, minlength=len(names))[[text for text in texts if names[text] == f"type {group}"]]
        assert times.max() - times.min() <= 1  # none comes twice before each has come once


def test_only_the_groups_that_are_there_are_drawn_from() -> None:
    shares = GroupShares.of(["a", "b", "a", "c"], {"c": 9.0})
    some = np.array([0, 2, 1])
    drawn = some[shares.pick(some, np.random.default_rng(0))]
    assert sorted(set(drawn.tolist())) in ([0, 1], [1, 2], [0, 1, 2])
