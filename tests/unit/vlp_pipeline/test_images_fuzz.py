"""Damaged files give pixels or one of two errors, and never a warning."""

import io
import warnings
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from vlp_pipeline.images import decode_image
from vlp_spec.errors import InvalidImageError, TooLargeError


def seed_files() -> list[bytes]:
    noise = np.random.default_rng(1).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    picture, exif = Image.fromarray(noise), Image.Exif()
    exif[0x0112] = 6
    deep = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    other: dict[str, Any] = {"save_all": True, "append_images": [picture.rotate(90)]}
    cases: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (picture, "JPEG", {"exif": exif}),
        (picture, "JPEG", {"progressive": True}),
        (picture.convert("CMYK"), "JPEG", {}),
        (picture, "PNG", {"exif": exif}),
        (picture.convert("RGBA"), "PNG", {}),
        (picture.convert("P"), "PNG", {"transparency": bytes(range(200))}),
        (deep, "PNG", {}),
        (picture, "PNG", other),
        (picture, "WEBP", {"exif": exif}),
        (picture.convert("RGBA"), "WEBP", {"lossless": True}),
        (picture, "WEBP", other),
        (picture, "GIF", {**other, "transparency": 3, "disposal": 2}),
        (picture, "BMP", {}),
        (picture.convert("P"), "BMP", {}),
        (picture, "TIFF", {"exif": exif}),
        (deep, "TIFF", {}),
    ]
    files = []
    for made, container, options in cases:
        target = io.BytesIO()
        made.save(target, container, **options)
        files.append(target.getvalue())
    return files


SEEDS = seed_files()
EDITS = st.lists(
    st.tuples(st.sampled_from(["set", "cut", "insert", "repeat"]), st.floats(0, 1), st.binary(min_size=1, max_size=4)),
    min_size=1,
    max_size=6,
)


def edited(data: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    for edit, where, content in edits:
        place = int(where * len(data))
        if edit == "set":
            data = data[:place] + content + data[place + len(content) :]
        elif edit == "cut":
            data = data[:place]
        elif edit == "insert":
            data = data[:place] + content + data[place:]
        else:
            data = data[:place] + data[place // 2 :]
    return data


def check(data: bytes) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outcome: np.ndarray | str = decode_image(data)
        except (InvalidImageError, TooLargeError) as error:
            outcome = error.message
    if isinstance(outcome, str):
        assert outcome.startswith("image: ")
    else:
        assert (outcome.dtype, outcome.ndim, outcome.shape[2]) == (np.uint8, 3, 3)
    assert not caught


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SEEDS), EDITS)
def test_damaged_pictures(seed: bytes, edits: list[tuple[str, float, bytes]]) -> None:
    check(edited(seed, edits))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([seed[:16] for seed in SEEDS] + [b""]), st.binary(max_size=200))
def test_random_bytes_behind_a_good_signature(signature: bytes, noise: bytes) -> None:
    check(signature + noise)
