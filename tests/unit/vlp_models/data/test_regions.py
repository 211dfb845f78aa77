from __future__ import annotations

import numpy as np
import pytest
from vlp_models.data.pictures import PictureStore
from vlp_models.data.records import Region, parse_record
from vlp_models.data.regions import RegionStore, RegionStream, place_words
from vlp_models.data.streams import BatchShape
from vlp_models.data.tokens import SpecialTokens
from vlp_spec.errors import InvalidArgumentError

SPECIAL = SpecialTokens(0, 2, 3, 4, np.zeros(60, dtype=bool))
GRIDS = np.array([[2, 3], [1, 1], [2, 2], [1, 2]], dtype=np.int32)
PICTURES = PictureStore([np.full((rows * columns, 12), n, np.uint8) for n, (rows, columns) in enumerate(GRIDS)], GRIDS)
REGIONS = (
    (Region((0.0, 0.0, 0.3, 0.4), ("cat",)), Region((0.7, 0.6, 1.0, 1.0), ("red", "dog"))),
    (Region((0.0, 0.0, 1.0, 1.0), ("car",)),),
    (),
    (Region((0.9, 0.9, 1.0, 1.0), ("tree",)),),
)
WORDS = ((np.array([10]), np.array([11, 12])), (np.array([13]),), (), (np.array([14]),))


def _store() -> RegionStore:
    return RegionStore.of(REGIONS, WORDS, GRIDS)


def test_a_region_belongs_to_the_patch_in_its_middle() -> None:
    store = _store()
    assert [slots.tolist() for slots in store.slots] == [[0, 5], [0], [], [1]]
    assert store.words[0].tolist() == [[0, 10], [1, 11], [1, 12]]


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0.0, 0.0, 0.2, 0.2), ("top", "left")),
        ((0.4, 0.0, 0.6, 0.6), ("top", "center")),
        ((0.3, 0.3, 0.7, 0.7), ("middle", "center")),
        ((0.9, 0.9, 1.0, 1.0), ("bottom", "right")),
        ((1.0, 1.0, 1.0, 1.0), ("bottom", "right")),
    ],
)
def test_places_are_thirds(box: tuple[float, ...], words: tuple[str, str]) -> None:
    assert place_words(box) == words


def test_a_batch_names_every_region_of_its_pictures_once() -> None:
    batch = RegionStream(PICTURES, _store(), SPECIAL, BatchShape(3)).batch(0)
    shown = batch["patches"][:, 0, 0]
    assert sorted(shown) == [0, 1, 3]  # picture 2 has no region
    assert batch["input_ids"].tolist() == [[2, 3]] * 3
    said = {}
    for region, token in batch["region_words"]:
        row, slot = batch["region_rows"][region], batch["region_slots"][region]
        said.setdefault((int(shown[row]), int(slot)), []).append(int(token))
    assert said == {(0, 0): [10], (0, 5): [11, 12], (1, 0): [13], (3, 1): [14]}
    assert batch["region_scale"] == pytest.approx(1 / 5)


def test_processes_share_the_batch_of_one() -> None:
    whole = RegionStream(PICTURES, _store(), SPECIAL, BatchShape(2)).batch(3)
    halves = [RegionStream(PICTURES, _store(), SPECIAL, BatchShape(1, rank, 2)).batch(3) for rank in range(2)]
    grids = np.concatenate([half["grid"] for half in halves])
    np.testing.assert_array_equal(grids, whole["grid"])
    tokens = np.concatenate([half["region_words"][:, 1] for half in halves])
    np.testing.assert_array_equal(tokens, whole["region_words"][:, 1])
    # Gradients are averaged over processes: twice the share each.
    assert halves[0]["region_scale"] == pytest.approx(2 * whole["region_scale"])


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("cat", "expected an object"),
        ({"box": [0, 0, 1], "words": ["cat"]}, "x0, y0, x1, y1"),
        ({"box": [0, 0, 1, 1.5], "words": ["cat"]}, "from 0 to 1"),
        ({"box": [0, 0, float("nan"), 1], "words": ["cat"]}, "from 0 to 1"),
        ({"box": [0.5, 0, 0.5, 1], "words": ["cat"]}, "x0 < x1"),
        ({"box": [0, 0, 1, 1], "words": []}, "words"),
        ({"box": [0, 0, 1, 1], "words": [" "]}, "words"),
        ({"box": [0, 0, 1, 1], "words": "cat"}, "words"),
    ],
)
def test_a_broken_region_is_named(region: object, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        parse_record({"id": "a", "image": "a.jpg", "regions": [region]})
    assert "regions[0]" in str(caught.value)


def test_regions_are_read() -> None:
    record = parse_record({"id": "a", "regions": [{"box": [0, 0.25, 1, 0.5], "words": ["red", "cat"]}]})
    assert record.regions == (Region((0, 0.25, 1, 0.5), ("red", "cat")),)
