from __future__ import annotations

import pytest
from vlp_models.training.schedule import lr_factor


@pytest.mark.parametrize("schedule", ["cosine", "linear", "trapezoid"])
def test_the_rate_rises_then_falls_to_nothing(schedule: str) -> None:
    factors = [lr_factor(progress / 100, schedule, 0.1) for progress in range(101)]
    assert factors[:11] == pytest.approx([step / 10 for step in range(11)])
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[-1] == pytest.approx(0)
    assert lr_factor(1.2, schedule, 0.1) == pytest.approx(0)


def test_shapes() -> None:
    assert lr_factor(0.55, "linear", 0.1) == pytest.approx(0.5)
    assert lr_factor(0.55, "cosine", 0.1) == pytest.approx(0.5)
    assert lr_factor(0.325, "cosine", 0.1) > 0.8
    assert lr_factor(0.9, "constant", 0.1) == 1
    assert [lr_factor(progress, "trapezoid", 0.1, 0.4) for progress in (0.3, 0.6, 0.8)] == pytest.approx([1, 1, 0.5])
    assert lr_factor(0.0, "cosine", 0.0) == 1
