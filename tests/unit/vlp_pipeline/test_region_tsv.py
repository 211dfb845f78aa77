from __future__ import annotations

import base64
import csv
import io
from typing import Any

import numpy as np
import pytest
from vlp_pipeline.region_tsv import parse_tsv_line, read_tsv, tsv_lines, tsv_picture_id
from vlp_pipeline.regions import RegionLimits
from vlp_spec.errors import InvalidArgumentError, TooLargeError

BOTTOM_UP = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
LXMERT = ("img_id", "img_h", "img_w", "objects_id", "objects_conf", "attrs_id", "attrs_conf", *BOTTOM_UP[3:])
PIXELS = np.array([[64, 96, 320, 192], [0, 0, 640, 480.2]], dtype=np.float32)
FEATURES = np.array([[1.5, -2.0, 3.25], [0.0, 7.0, 9.0]], dtype=np.float32)
SCORES = np.array([0.9, 0.5], dtype=np.float32)


def _text(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _row(**changed: Any) -> dict[str, Any]:
    row = {"image_id": 9, "image_w": 640, "image_h": 480, "num_boxes": 2, "boxes": _text(PIXELS)}
    return {**row, "features": _text(FEATURES), **changed}


def _tsv(rows: list[dict[str, Any]], names: Any = BOTTOM_UP) -> bytes:
    """As both projects write their files."""
    target = io.StringIO(newline="")
    csv.DictWriter(target, names, delimiter="\t").writerows(rows)
    return target.getvalue().encode()


def test_rows_of_bottom_up_attention_are_read() -> None:
    (first, second) = read_tsv(io.BytesIO(_tsv([_row(), _row(image_id=10)])), RegionLimits(feature_width=3))
    assert (first.picture_id, first.width_px, first.height_px, second.picture_id) == ("9", 640, 480, "10")
    np.testing.assert_allclose(first.regions.boxes, [[0.1, 0.2, 0.5, 0.4], [0, 0, 1, 1]], rtol=1e-6)
    np.testing.assert_array_equal(first.regions.features, FEATURES)
    assert first.regions.scores is None


def test_rows_of_lxmert_are_read() -> None:
    row = {
        **{"img_id": "COCO_val2014_000000000009", "img_h": 480, "img_w": 640, "num_boxes": 2},
        **{"boxes": _text(PIXELS), "features": _text(FEATURES), "objects_conf": _text(SCORES)},
        **{"objects_id": _text(np.array([3, 4])), "attrs_id": _text(np.array([1, 2])), "attrs_conf": _text(SCORES)},
    }
    (found,) = read_tsv(io.BytesIO(_tsv([row], LXMERT)))
    assert (found.picture_id, found.width_px, found.height_px) == ("COCO_val2014_000000000009", 640, 480)
    np.testing.assert_array_equal(found.regions.scores, SCORES)
    np.testing.assert_allclose(found.regions.boxes[0], [0.1, 0.2, 0.5, 0.4], rtol=1e-6)


def test_lines_say_where_they_begin() -> None:
    data = b"a\tb\r\n\r\nc\td\ne\tf"
    lines = list(tsv_lines(io.BytesIO(data)))
    assert [(line.number, line.offset, line.text) for line in lines] == [
        (1, 0, b"a\tb"),
        (3, 7, b"c\td"),
        (4, 11, b"e\tf"),
    ]


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"image_w": 0}, "width: got b'0'"),
        ({"image_w": "6_4"}, "width: got b'6_4'"),
        ({"image_h": -480}, "height: got b'-480'"),
        ({"image_h": 99999999999}, "height: got"),
        ({"num_boxes": 0}, "0 regions"),
        ({"num_boxes": "two"}, "num_boxes: got b'two'"),
        ({"num_boxes": 3}, "boxes: 8 numbers for 3 regions"),
        ({"num_boxes": 1}, r"boxes: got shape \(1, 8\)"),
        ({"boxes": "!!"}, "boxes: not base64"),
        ({"boxes": f"b'{_text(PIXELS)}'"}, "boxes: not base64"),
        ({"boxes": _text(PIXELS[:, ::-1].copy())}, "expected x0 < x1|expected shares"),
        ({"boxes": _text(PIXELS * 2)}, "expected shares"),
        ({"boxes": ""}, "boxes: 0 numbers for 2 regions"),
        ({"features": _text(FEATURES)[:-4]}, "features: "),
        ({"features": _text(FEATURES[:, :2].copy())}, r"features: got shape \(2, 2\), expected \(regions, 3\)"),
        ({"features": _text(FEATURES * np.nan)}, "features: region 0 has NaN"),
        ({"image_id": " "}, "picture's id: got b' '"),
        ({"image_id": "x" * 600}, "picture's id: got"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, Any], names: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"line 2: regions: .*({names})"):
        list(read_tsv(io.BytesIO(_tsv([_row(), _row(**changed)])), RegionLimits(feature_width=3)))


@pytest.mark.parametrize("text", [b"", b"1\t2", b"\t" * 6, b"\t" * 500, b"x" * 100, b"\x80\t1\t1\t1\t1\t1"])
def test_what_is_no_row_is_refused(text: bytes) -> None:
    for read in (parse_tsv_line, tsv_picture_id):
        with pytest.raises(InvalidArgumentError, match=r"fields between tabs|got b"):
            read(text)


def test_a_row_cut_anywhere_is_refused() -> None:
    whole = _tsv([_row()]).rstrip()
    for length in range(len(whole)):
        with pytest.raises(InvalidArgumentError):
            parse_tsv_line(whole[:length], RegionLimits(feature_width=3))


def test_ten_thousand_regions_are_refused_unread() -> None:
    with pytest.raises(TooLargeError, match="line 1: regions: 10000 regions, at most 100"):
        list(read_tsv(io.BytesIO(_tsv([_row(num_boxes=10_000)]))))


def test_no_more_of_a_line_is_read_than_the_limit() -> None:
    stream = io.BytesIO(b"x" * 100_000)
    with pytest.raises(TooLargeError, match="line 1: over 2000 bytes"):
        list(tsv_lines(stream, RegionLimits(max_bytes=1000)))
    assert stream.tell() == 2001
