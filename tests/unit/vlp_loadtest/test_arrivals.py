from __future__ import annotations

import itertools
import random

import pytest
from vlp_loadtest.arrivals import ArrivalProcess, arrival_times
from vlp_loadtest.mix import Mix, chosen_weights, served_tasks
from vlp_loadtest.skew import Skewed


def first(count: int, rate: float, process: ArrivalProcess, seed: int = 0) -> list[float]:
    return list(itertools.islice(arrival_times(rate, process, random.Random(seed)), count))


def test_a_constant_process_has_equal_gaps_and_its_error_does_not_grow() -> None:
    assert first(4, 10, ArrivalProcess.CONSTANT) == [0.0, 0.1, 0.2, 0.3]
    assert first(100_001, 10, ArrivalProcess.CONSTANT)[-1] == 10_000


def test_a_poisson_process_has_its_rate_and_gaps_whose_spread_is_their_mean() -> None:
    times = first(20_000, 50, ArrivalProcess.POISSON)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(0.02, rel=0.03)
    assert spread == pytest.approx(mean, rel=0.05)
    assert first(5, 50, ArrivalProcess.POISSON, 1) == first(5, 50, ArrivalProcess.POISSON, 1)
    assert first(5, 50, ArrivalProcess.POISSON, 1) != first(5, 50, ArrivalProcess.POISSON, 2)


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
@pytest.mark.parametrize("process", list(ArrivalProcess))
def test_a_rate_is_above_0(rate: float, process: ArrivalProcess) -> None:
    with pytest.raises(ValueError, match="above 0"):
        arrival_times(rate, process, random.Random(0))


def test_zipf_s_law() -> None:
    chance, skewed = random.Random(0), Skewed(1000, 1.0)
    drawn = [skewed.draw(chance) for _ in range(50_000)]
    harmonic = sum(1 / rank for rank in range(1, 1001))
    for number in (0, 1, 9):
        assert drawn.count(number) / len(drawn) == pytest.approx(1 / (number + 1) / harmonic, rel=0.1)
    assert 0 <= min(drawn) < max(drawn) < 1000


def test_without_skew_all_are_alike() -> None:
    chance, skewed = random.Random(0), Skewed(4, 0)
    drawn = [skewed.draw(chance) for _ in range(20_000)]
    assert [drawn.count(number) / len(drawn) for number in range(4)] == pytest.approx([0.25] * 4, rel=0.05)


@pytest.mark.parametrize(("count", "exponent"), [(0, 1), (1, -1), (1, 99)])
def test_a_skew_out_of_range(count: int, exponent: float) -> None:
    with pytest.raises(ValueError, match="skew"):
        Skewed(count, exponent)


def test_a_mix_draws_by_weight() -> None:
    chance, mix = random.Random(0), Mix({"vqa": 3, "caption": 1, "match": 0})
    drawn = [mix.draw(chance) for _ in range(20_000)]
    assert set(drawn) == {"vqa", "caption"}
    assert drawn.count("vqa") / len(drawn) == pytest.approx(0.75, rel=0.03)
    for weights in ({}, {"vqa": 0.0}, {"vqa": -1.0}):
        with pytest.raises(ValueError, match="weights"):
            Mix(weights)


def test_tasks_of_a_server_and_of_one_of_its_models() -> None:
    models = [{"name": "a", "tasks": ["vqa", "match"]}, {"name": "b", "tasks": ["caption"]}]
    assert served_tasks(models, None) == {"vqa", "match", "caption"}
    assert served_tasks(models, "b@2") == {"caption"}
    assert served_tasks(models, "c") == set()


def test_what_can_be_asked_is_what_is_served_wanted_and_has_what_it_needs() -> None:
    served = {"vqa", "caption", "embeddings"}
    assert set(chosen_weights(served, collection=None)) == {"vqa", "caption", "caption_stream", "embeddings"}
    assert set(chosen_weights(served, collection="c")) >= {"search", "vqa"}
    assert "index" not in chosen_weights(served, collection="c")
    assert set(chosen_weights(served, wanted={"vqa", "grounding", "search"}, collection=None)) == {"vqa"}
    assert chosen_weights(served, wanted={"index"}, collection="c") == {"index": 1.0}


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_bulk_work_has_the_share_that_it_is_given(share: float) -> None:
    weights = chosen_weights({"vqa", "embeddings"}, collection="c", bulk_share=share)
    assert weights["index"] / sum(weights.values()) == pytest.approx(share)
