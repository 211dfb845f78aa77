from dataclasses import dataclass
from typing import Any

import pytest
from vlp_pipeline.settings import read_settings
from vlp_spec.errors import ArtifactError


@dataclass(frozen=True)
class Oven:
    heat: int
    mode: str = "fan"

    def __post_init__(self) -> None:
        if self.heat > 300:
            raise ValueError(f"heat {self.heat} is over 300")


def test_defaults_are_filled_in() -> None:
    assert read_settings(Oven, {"heat": 200}, "oven") == Oven(200, "fan")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"heat": 1, "light": 2, "door": 3}, "oven: unknown key door, light"),
        ({}, "oven: missing key heat"),
        ({"heat": True}, "oven.heat: got True, expected int"),
        ({"heat": None}, "oven.heat: got None, expected int"),
        ({"heat": 1, "mode": 5}, "oven.mode: got 5, expected str"),
        ({"heat": 301}, "oven: heat 301 is over 300"),
    ],
)
def test_each_fault_names_its_place(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        read_settings(Oven, raw, "oven")
    assert caught.value.message == message
