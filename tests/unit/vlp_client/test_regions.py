from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vlp_client import FoundRegions, Region, Regions
from vlp_client.regions import found_regions, read_regions

BOXES = [[0.0, 0.25, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0]]
FEATURES = np.array([[1.5, -2.0, 3.25], [0.0, 7.0, 9.0]], dtype="<f4")
PACKED = base64.b64encode(FEATURES.tobytes()).decode()


@pytest.mark.parametrize("features", [FEATURES.tobytes(), FEATURES.tolist(), FEATURES, FEATURES.astype(np.float64)])
def test_features_are_sent_as_float32(features: Any) -> None:
    assert Regions(BOXES, features).json_value() == {"boxes": BOXES, "features": PACKED}


def test_boxes_and_scores_of_numpy_become_plain_numbers() -> None:
    value = Regions(np.array(BOXES, np.float32), PACKED.encode(), np.array([0.5, 0.25], np.float32)).json_value()
    assert value["boxes"] == BOXES
    assert value["scores"] == [0.5, 0.25]
    assert {type(number) for row in [*value["boxes"], value["scores"]] for number in row} == {float}


def test_boxes_in_pixels_go_with_the_size() -> None:
    value = Regions([[0, 120, 320, 480]], FEATURES[:1].tobytes(), size_px=(640, 480)).json_value()
    assert value["boxes"] == [[0.0, 120.0, 320.0, 480.0]]
    assert (value["box_format"], value["width"], value["height"]) == ("pixels", 640.0, 480.0)


def test_uneven_features_are_refused_before_they_are_mixed_up() -> None:
    with pytest.raises(ValueError, match="2 numbers for one region, 4 for another"):
        Regions(BOXES, [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0]]).json_value()


def test_a_file_in_every_form(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(b"bytes of a file")
    for source in (path, str(path)):
        assert read_regions(source).file == ("a.npz", b"bytes of a file")
    for other in (b"bytes of a file", bytearray(b"bytes of a file"), io.BytesIO(b"bytes of a file")):
        sent = read_regions(other)
        assert sent.file == ("regions.npz", b"bytes of a file")
        assert base64.b64decode(sent.json_value) == b"bytes of a file"
    assert read_regions(Regions(BOXES, FEATURES.tobytes())).file is None


def test_what_is_none(tmp_path: Path) -> None:
    wrong: list[Any] = [3, None, {"boxes": BOXES}]
    for source in wrong:
        with pytest.raises(TypeError, match="expected Regions, or a path"):
            read_regions(source)
    path = tmp_path / "a.txt"
    path.write_text("a")
    with path.open() as file, pytest.raises(TypeError, match="mode 'rb'"):
        read_regions(file)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        read_regions(tmp_path / "none.npz")


BODY: dict[str, Any] = {
    "model": "m@1",
    "encoder": "e",
    "regions": [
        {"box": BOXES[0], "score": 0.75, "name": "cat", "attribute": "red"},
        {"box": BOXES[1], "score": 0.5, "name": "dog", "attribute": None},
    ],
}


def test_what_a_server_found() -> None:
    found = found_regions({**BODY, "features": PACKED, "feature_size": 3}, {"total": 1.0})
    cat, dog = Region((0.0, 0.25, 0.5, 1.0), 0.75, "cat", "red"), Region((0.5, 0.5, 1.0, 1.0), 0.5, "dog", None)
    assert found == FoundRegions("m@1", "e", (cat, dog), FEATURES.tobytes(), 3, {"total": 1.0})
    assert found.to_send().json_value() == {"boxes": BOXES, "features": PACKED, "scores": [0.75, 0.5]}
    bare = found_regions(BODY, {})
    assert (bare.features, bare.feature_size) == (None, None)
    with pytest.raises(ValueError, match="features=True"):
        bare.to_send()


def test_scores_that_are_not_known_are_not_sent() -> None:
    body = {**BODY, "regions": [{**region, "score": None} for region in BODY["regions"]]}
    found = found_regions({**body, "features": PACKED, "feature_size": 3}, {})
    assert "scores" not in found.to_send().json_value()


@pytest.mark.parametrize(
    "change",
    [
        {"features": PACKED, "feature_size": 4},
        {"features": PACKED[:-4], "feature_size": 3},
        {"features": "*", "feature_size": 3},
        {"features": PACKED, "feature_size": None},
        {"features": PACKED},
        {"regions": [{"box": [0, 1], "score": 1, "name": "a", "attribute": None}]},
        {"regions": [{}]},
        {"regions": None},
    ],
)
def test_an_answer_that_is_none(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        found_regions({**BODY, **change}, {})
