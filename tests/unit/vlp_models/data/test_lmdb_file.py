from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import lmdb
import pytest
from vlp_models.data.lmdb_file import LmdbFile, is_lmdb, load_optional
from vlp_spec.errors import ArtifactError, ConfigError, TooLargeError


def _write(folder: Path, values: Mapping[bytes, bytes]) -> Path:
    with lmdb.open(str(folder), map_size=1 << 22) as environment, environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key, value)
    return folder


def test_values_are_read_by_key(tmp_path: Path) -> None:
    file = LmdbFile(_write(tmp_path / "db", {b"a": b"1", "ü".encode(): b"2" * 50}), 50)
    assert (file.get("a"), file.get("ü"), file.get("b")) == (b"1", b"2" * 50, None)
    for key in ("", "x" * 512, "\udcff"):
        assert file.get(key) is None
    file.close()


def test_a_large_value_is_refused(tmp_path: Path) -> None:
    file = LmdbFile(_write(tmp_path / "db", {b"a": b"1" * 51}), 50)
    with pytest.raises(TooLargeError, match="'a' has 51 bytes, at most 50"):
        file.get("a")
    file.close()


def test_a_file_can_be_opened_again_once_it_is_closed(tmp_path: Path) -> None:
    folder = _write(tmp_path / "db", {b"a": b"1"})
    first = LmdbFile(folder, 50)
    with pytest.raises(ArtifactError, match="already open in this process"):
        LmdbFile(folder, 50)
    first.close()
    second = LmdbFile(folder, 50)
    assert second.get("a") == b"1"
    second.close()


def test_reading_leaves_no_file_behind(tmp_path: Path) -> None:
    folder = _write(tmp_path / "db", {b"a": b"1"})
    (folder / "lock.mdb").unlink()
    LmdbFile(folder, 50).close()
    assert [path.name for path in folder.iterdir()] == ["data.mdb"]


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 20_000, bytes(8192)])
def test_what_is_no_lmdb_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.mdb").write_bytes(content)
    with pytest.raises(ArtifactError, match="cannot be opened as an LMDB"):
        LmdbFile(tmp_path, 50)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert not is_lmdb(tmp_path)
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ArtifactError, match="no LMDB in it"):
            LmdbFile(folder, 50)


def test_a_file_that_was_cut_is_refused_before_a_page_is_missed(tmp_path: Path) -> None:
    folder = _write(tmp_path / "db", {b"a": b"1" * 100_000})
    whole = (folder / "data.mdb").read_bytes()
    for length in (8192, 50_000, 100_000):
        (folder / "data.mdb").write_bytes(whole[:length])
        with pytest.raises(ArtifactError, match=f"{length} bytes, its pages need .*cut short"):
            LmdbFile(folder, 1 << 20)


@pytest.mark.parametrize("name", ["lmdb", "lz4.frame"])
def test_a_library_that_is_not_installed_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"the data: {name.partition('.')[0]} cannot .*install vlpserve\[lmdb\]"):
        load_optional(name, "the data")
