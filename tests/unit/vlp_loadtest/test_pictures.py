from __future__ import annotations

import random
from io import BytesIO

import pytest
from PIL import Image
from vlp_loadtest.pictures import SIDE, Pictures, as_jpeg, drawn_picture, marked


def pixels(jpeg: bytes) -> bytes:
    with Image.open(BytesIO(jpeg)) as image:
        assert image.format == "JPEG"
        return image.convert("RGB").tobytes()


def test_no_drawn_picture_is_like_another() -> None:
    drawn = [drawn_picture(random.Random(seed)) for seed in range(20)]
    assert len(set(drawn)) == 20
    assert Image.open(BytesIO(drawn[0])).size == (SIDE, SIDE)


def test_a_mark_makes_another_file_of_the_same_picture() -> None:
    jpeg = drawn_picture(random.Random(0))
    one, other = marked(jpeg, "1"), marked(jpeg, "2")
    assert len({jpeg, one, other}) == 3
    assert pixels(jpeg) == pixels(one) == pixels(other)


def test_a_mark_in_a_jpeg_without_a_jfif_header() -> None:
    jpeg = drawn_picture(random.Random(0))
    bare = jpeg[:2] + jpeg[4 + int.from_bytes(jpeg[4:6], "big") :]
    assert bare[2:4] != b"\xff\xe0"
    assert pixels(marked(bare, "x")) == pixels(bare)


def test_every_picture_is_new_where_none_is_to_be_repeated() -> None:
    pictures = Pictures(random.Random(0), side=32)
    assert len({pictures.next() for _ in range(500)}) == 500


def test_so_many_different_ones_the_first_most_often() -> None:
    pictures = Pictures(random.Random(0), count=10, skew=1.0, side=32)
    drawn = [pictures.next() for _ in range(2000)]
    counts = sorted((drawn.count(one) for one in set(drawn)), reverse=True)
    assert len(counts) == 10
    assert counts[0] > 3 * counts[-1]


def test_another_run_has_other_files_and_the_same_seed_the_same() -> None:
    first, again, other = (Pictures(random.Random(seed), side=32).next() for seed in (1, 1, 2))
    assert first == again != other


def test_pictures_of_one_s_own() -> None:
    buffer = BytesIO()
    Image.new("RGBA", (4, 4)).save(buffer, "PNG")
    own = as_jpeg(buffer.getvalue())
    assert as_jpeg(own) is own
    assert pixels(Pictures(random.Random(0), originals=[own]).next()) == pixels(own)
    with pytest.raises(OSError, match="cannot identify"):
        as_jpeg(b"no picture")
