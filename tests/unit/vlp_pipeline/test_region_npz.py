from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vlp_pipeline.npy_header import npy_header
from vlp_pipeline.region_npz import read_region_npz
from vlp_pipeline.regions import RegionLimits
from vlp_spec.errors import InvalidArgumentError, RequestError, TooLargeError

GOLDEN = Path(__file__).parents[2] / "golden" / "uniter_lmdb" / "npz" / "coco_val2014"
RNG = np.random.default_rng(0)
CORNERS = np.array([[0.1, 0.2, 0.5, 0.4], [0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.75, 1.0]])
ARRAYS: dict[str, np.ndarray] = {
    "features": RNG.random((3, 8)).astype(np.float16),
    "norm_bb": np.concatenate([CORNERS, CORNERS[:, 2:] - CORNERS[:, :2]], axis=1).astype(np.float16),
    "conf": np.array([[0.9], [0.5], [0.1]], dtype=np.float16),
    "soft_labels": np.full((3, 4), 0.25, dtype=np.float16),
}


def _npz(arrays: dict[str, Any] | None = None, *, save: Any = np.savez_compressed, **changed: Any) -> bytes:
    target = io.BytesIO()
    values = {**(ARRAYS if arrays is None else arrays), **changed}
    save(target, **{name: value for name, value in values.items() if value is not None})
    return target.getvalue()


def _npy(array: np.ndarray) -> bytes:
    target = io.BytesIO()
    np.save(target, array)
    return target.getvalue()


def _zip(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return target.getvalue()


MEMBERS = [(f"{name}.npy", _npy(array)) for name, array in ARRAYS.items()]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.npz")), ids=lambda path: path.stem)
def test_uniters_own_files_are_read_to_the_bit(path: Path) -> None:
    regions = read_region_npz(path.read_bytes(), RegionLimits(feature_width=2048))
    with np.load(path) as stored:
        norm_bb = stored["norm_bb"].astype(np.float32)
        np.testing.assert_array_equal(regions.features, stored["features"].astype(np.float32))
        np.testing.assert_array_equal(regions.boxes, norm_bb[:, :4])
        np.testing.assert_array_equal(regions.positions[:, :6], norm_bb)
        np.testing.assert_array_equal(regions.positions[:, 6], norm_bb[:, 4] * norm_bb[:, 5])
        np.testing.assert_array_equal(regions.scores, stored["conf"][:, 0].astype(np.float32))
        np.testing.assert_array_equal(regions.class_probabilities, stored["soft_labels"].astype(np.float32))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_our_own_names_are_read(save: Any) -> None:
    arrays = {"boxes": CORNERS, "features": np.asfortranarray(ARRAYS["features"]), "scores": np.array([0.9, 0.5, 0.1])}
    regions = read_region_npz(_npz(arrays, save=save))
    np.testing.assert_array_equal(regions.features, ARRAYS["features"])
    np.testing.assert_array_equal(regions.boxes, CORNERS.astype(np.float32))
    np.testing.assert_allclose(regions.scores, [0.9, 0.5, 0.1])
    assert regions.class_probabilities is None


def test_other_members_are_passed_over_unread() -> None:
    data = _npz(allow_pickle=True, names=np.array(["a", None], dtype=object))
    assert len(read_region_npz(data)) == 3


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"features": None}, "no array 'features' in"),
        ({"norm_bb": None}, "no array 'boxes' or 'norm_bb' in"),
        ({"boxes": CORNERS}, "both boxes and norm_bb are given"),
        ({"scores": np.ones(3)}, "both scores and conf are given"),
        ({"features": ARRAYS["features"].astype(object)}, "Python objects; such arrays are never opened"),
        ({"conf": np.array([None] * 3)}, "Python objects"),
        ({"features": np.zeros((3, 8), dtype=np.int32)}, "numbers of type '<i4'"),
        ({"features": np.zeros((3, 9))}, r"got shape \(3, 9\), expected \(regions, 8\)"),
        ({"features": np.zeros(8)}, "got shape"),
        ({"features": np.zeros((2, 8))}, "arrays of different lengths: 2 features, 3 norm_bb"),
        ({name: array[:0] for name, array in ARRAYS.items()}, "0 regions"),
        ({"features": np.full((3, 8), np.nan)}, "NaN"),
        ({"features": np.full((3, 8), np.inf, dtype=np.float16)}, "NaN or a number that is not finite"),
        ({"norm_bb": CORNERS}, r"norm_bb: got shape \(3, 4\), expected \(regions, 6\)"),
        ({"norm_bb": ARRAYS["norm_bb"] * 500}, "expected shares"),
        ({"norm_bb": ARRAYS["norm_bb"][:, [2, 3, 0, 1, 4, 5]]}, "expected x0 < x1"),
        ({"norm_bb": ARRAYS["norm_bb"][:, [0, 1, 2, 3, 5, 4]]}, "sides: those of box 0"),
        ({"conf": np.full((3, 1), 7.0)}, "scores: region 0 has 7"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], names: str) -> None:
    with pytest.raises(InvalidArgumentError, match=names) as caught:
        read_region_npz(_npz(**change), RegionLimits(feature_width=8))
    assert caught.value.field == "regions"


@pytest.mark.parametrize(
    "data", [b"", b"PK", b"not a zip file at all", _npy(ARRAYS["features"]), b"PK\x05\x06" + b"\0" * 18]
)
def test_what_is_no_npz_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match=r"not an .npz file|no array"):
        read_region_npz(data)


def test_a_file_cut_anywhere_is_refused() -> None:
    data = _npz()
    for length in range(0, len(data), 7):
        with pytest.raises(InvalidArgumentError, match=r"npz file|cut short"):
            read_region_npz(data[:length])


def test_any_damage_is_a_fault_of_the_request() -> None:
    rng = random.Random(5)
    messages = []
    for save in (np.savez, np.savez_compressed):
        whole = _npz(save=save)
        for _ in range(400):
            data = bytearray(whole)
            for _ in range(rng.randint(1, 4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            try:
                read_region_npz(bytes(data))
            except RequestError as error:
                messages.append(error.message)
    assert len(messages) > 400
    assert all(message.startswith("regions: ") for message in messages)


def test_a_member_twice_is_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = _zip([*MEMBERS, MEMBERS[0]])
    with pytest.raises(InvalidArgumentError, match=r"'features.npy' is in the file twice"):
        read_region_npz(data)
    with pytest.raises(InvalidArgumentError, match="'features' is in the file twice"):
        read_region_npz(_zip([*MEMBERS, ("features", MEMBERS[0][1])]))


def test_ten_thousand_regions_are_refused_by_their_header() -> None:
    rows = {name: np.repeat(array, 3334, axis=0) for name, array in ARRAYS.items()}
    with pytest.raises(TooLargeError, match="10002 regions, at most 100"):
        read_region_npz(_npz(rows))


def test_a_bomb_is_refused_by_its_directory_before_anything_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _npz(features=np.zeros((3, 2_000_000), dtype=np.float16))
    assert len(data) < 50_000
    opened: list[object] = []
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *args, **options: opened.append(args))
    with pytest.raises(TooLargeError, match=r"arrays of 1200\d{4} bytes, at most 1000000"):
        read_region_npz(data, RegionLimits(max_bytes=1_000_000))
    assert not opened


def test_a_bomb_whose_directory_lies_is_never_read_beyond_it() -> None:
    bomb = npy_header(np.float16, (3, 8)) + bytes(12_000_000)
    data = bytearray(_zip([("features.npy", bomb), *MEMBERS[1:]]))
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 128 + 48)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidArgumentError, match="damaged"):
            read_region_npz(bytes(data))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("shape", "error", "names"),
    [
        ((10**9, 8), TooLargeError, "1000000000 regions"),
        ((3, 10**12), TooLargeError, "at most 16777216 bytes"),
        ((3, 10**17), TooLargeError, "at most 16777216 bytes"),
        ((3, 9), InvalidArgumentError, r"its header speaks of 182 \(shape \(3, 9\)\)"),
        ((-3, 8), InvalidArgumentError, r"shape \(-3, 8\), expected no negative length"),
        ((3, -8), InvalidArgumentError, "no negative length"),
        ((), InvalidArgumentError, r"got shape \(\)"),
    ],
)
def test_a_hostile_shape_is_refused(shape: tuple[int, ...], error: type[Exception], names: str) -> None:
    lying = npy_header(np.float16, shape) + ARRAYS["features"].tobytes()
    with pytest.raises(error, match=names):
        read_region_npz(_zip([("features.npy", lying), *MEMBERS[1:]]))


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_numpy_never_uses_are_refused(compression: int) -> None:
    with pytest.raises(InvalidArgumentError, match="compressed in a way that numpy never uses"):
        read_region_npz(_zip(MEMBERS, compression))


def test_an_encrypted_member_is_refused() -> None:
    data = bytearray(_zip(MEMBERS))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InvalidArgumentError, match="encrypted"):
        read_region_npz(bytes(data))


def test_a_file_of_very_many_members_is_refused_unopened() -> None:
    with pytest.raises(TooLargeError, match="over 64 members"):
        read_region_npz(_zip([*MEMBERS, *((f"m{number}", b"") for number in range(61))]))
    assert len(read_region_npz(_zip([*MEMBERS, *((f"m{number}", b"") for number in range(60))]))) == 3


def test_a_file_over_the_byte_limit_is_refused() -> None:
    data = _npz(save=np.savez)
    with pytest.raises(TooLargeError, match=f"a file of {len(data)} bytes, at most {len(data) - 1}"):
        read_region_npz(data, RegionLimits(max_bytes=len(data) - 1))
