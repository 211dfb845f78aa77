import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlp_pipeline.pipeline import Item
from vlp_server.core.bisection import run_bisecting
from vlp_spec.errors import InferenceError, InternalError

GOOD, RAISES, NAN, SPOILS_ALL = range(4)


def items_of(kinds):
    return [Item({"x": np.array([index, kind])}, {"text": 1}) for index, kind in enumerate(kinds)]


def run(items):
    """Row i gives its index; SPOILS_ALL makes its neighbours finite and wrong, itself NaN."""
    rows = np.stack([item.arrays["x"] for item in items]).astype(np.float32)
    kinds = rows[:, 1]
    if (kinds == RAISES).any():
        raise RuntimeError("bad row")
    out = rows[:, 0].copy()
    if (kinds == SPOILS_ALL).any():
        out += 1000
    out[(kinds == NAN) | (kinds == SPOILS_ALL)] = np.nan
    return {"y": out[:, None]}


@given(st.lists(st.sampled_from([GOOD, GOOD, RAISES, NAN, SPOILS_ALL]), min_size=1, max_size=12))
def test_the_guilty_fail_and_every_neighbour_gets_its_own_right_answer(kinds):
    outcomes = run_bisecting(items_of(kinds), run)
    for index, (kind, outcome) in enumerate(zip(kinds, outcomes, strict=True)):
        if kind == GOOD:
            assert outcome["y"].tolist() == [index]
        else:
            assert isinstance(outcome, InferenceError)


def test_a_good_batch_is_run_once():
    calls = []
    run_bisecting(items_of([GOOD] * 8), lambda part: calls.append(len(part)) or run(part))
    assert calls == [8]


def test_one_bad_item_of_eight_costs_six_further_runs():
    calls = []
    run_bisecting(items_of([GOOD] * 5 + [NAN] + [GOOD] * 2), lambda part: calls.append(len(part)) or run(part))
    assert sorted(calls) == [1, 1, 2, 2, 4, 4, 8]


def test_memory_that_suffices_for_half_a_batch_serves_it_in_halves():
    def small(part):
        if len(part) > 2:
            raise MemoryError
        return run(part)

    outcomes = run_bisecting(items_of([GOOD] * 4), small)
    assert [outcome["y"][0] for outcome in outcomes] == [0, 1, 2, 3]


def test_a_fault_of_ours_blames_no_item():
    def broken(part):
        raise InternalError(detail="graph is not loaded")

    with pytest.raises(InternalError):
        run_bisecting(items_of([GOOD] * 4), broken)
    with pytest.raises(InternalError):
        run_bisecting(items_of([GOOD] * 4), lambda part: {"y": np.zeros((1, 1))})


def test_integer_outputs_are_finite():
    outcomes = run_bisecting(items_of([GOOD]), lambda part: {"y": np.array([[3]])})
    assert outcomes[0]["y"].tolist() == [3]
