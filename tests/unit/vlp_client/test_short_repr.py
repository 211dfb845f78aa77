"""What records show of themselves at a prompt."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import numpy as np
import pytest
from vlp_client import (
    Added,
    AddedItem,
    Answer,
    Classification,
    Embeddings,
    FoundRegions,
    Hit,
    Hits,
    ItemResult,
    LabelScore,
    NewItem,
    Regions,
    StoredItem,
    VqaAnswers,
)
from vlp_client.regions import Region

TIMES: Mapping[str, float] = {"total": 1.5}
VECTOR = array("f", [0.25] * 2048)
MANY = 5000
REGION = Region((0.0, 0.0, 1.0, 1.0), 0.5, "disc", "red")
LONG = [
    Embeddings("m@1", (VECTOR,) * MANY, TIMES),
    Classification("m@1", tuple(LabelScore(f"label {n}", 0.5) for n in range(MANY)), TIMES),
    Added("m@1", "e" * 64, tuple(AddedItem(str(n), "created") for n in range(MANY))),
    Hits("m@1", "e" * 64, tuple(Hit(str(n), 0.5, {"n": "x" * MANY}) for n in range(MANY)), None, TIMES),
    StoredItem("a", {str(n): [n] * MANY for n in range(MANY)}, None, False, 0),
    FoundRegions("m@1", "e" * 64, (REGION,) * MANY, b"x" * MANY, 4, TIMES),
    Regions([[0.0, 0.0, 1.0, 1.0]] * MANY, [[0.5] * MANY] * MANY),
    Regions(np.zeros((MANY, 4)), np.zeros((MANY, 9)).tobytes()),  # type: ignore[arg-type]
    NewItem(image=b"x" * MANY, id="x" * MANY, vector=[0.5] * MANY),
    NewItem(vector=np.full(MANY, 0.123)),  # type: ignore[arg-type]
    ItemResult(0, "item", VECTOR),
    ItemResult(0, "item", Embeddings("m@1", (VECTOR,) * MANY, TIMES)),
]


@pytest.mark.parametrize("record", LONG, ids=lambda record: type(record).__name__)
def test_what_is_long_is_shown_in_short(record: object) -> None:
    assert len(repr(record)) < 800
    assert repr(record).startswith(f"{type(record).__name__}(")


def test_what_is_short_is_shown_whole() -> None:
    reply = VqaAnswers("m@1", (Answer("red", 0.5),), TIMES)
    assert repr(reply) == (
        "VqaAnswers(model='m@1', answers=(Answer(answer='red', score=0.5),), timings_ms={'total': 1.5})"
    )
    assert repr(ItemResult(3, b"not shown", VECTOR)) == (
        "ItemResult(index=3, value=<2048 numbers>, error=None, known=False)"
    )
    vectors = Embeddings("m@1", (VECTOR,) * 5, {})
    numbers = ", ".join(["<2048 numbers>"] * 3)
    assert repr(vectors) == f"Embeddings(model='m@1', vectors=({numbers}, <2 more>), timings_ms={{}})"


def test_records_are_compared_and_kept_as_they_were() -> None:
    assert VqaAnswers("m@1", (), TIMES) == VqaAnswers("m@1", (), TIMES)
    assert not hasattr(Hit("a", 0.5, {}), "__dict__")
