"""Where `vlpserve index` finds pictures: a folder, WebDataset shards as img2dataset writes them, or a JSONL list."""

from __future__ import annotations

import json
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from vlp_spec.errors import ConfigError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
_SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_USED_SUFFIXES = IMAGE_SUFFIXES | {".json", ".txt"}
_DAMAGED = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)
_URL = re.compile(r"https?://", re.IGNORECASE)
# One picture is read at a time, and a shard may hold anything.
_MAX_FILE_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class FoundPicture:
    """A picture to be added, or why it cannot be.

    Attributes:
        place: for people: its path, or its shard and name.
        item_id: of the item that it becomes.
        content: the file; None where `url` names it, or with a fault.
        fault: what is wrong with it; it is then not sent.
    """

    place: str
    item_id: str
    content: bytes | None = None
    url: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """All pictures of one argument, in an order that does not change.

    Attributes:
        count: how many there are, as far as can be told beforehand.
    """

    path: Path
    count: int

    def read(self) -> Iterator[FoundPicture]:
        """Yield them, one in memory at a time."""
        if self.path.suffix == ".jsonl":
            yield from _read_list(self.path)
        elif is_shard(self.path):
            yield from _read_shard(self.path)
        else:
            shards = _shards(self.path)
            for shard in shards:
                yield from _read_shard(shard)
            if not shards:
                yield from _read_folder(self.path)


def open_source(path: Path) -> Source:
    """Count what lies at a path.

    Raises:
        ConfigError: nothing is there, it is none of the three, or a folder or list is empty.
    """
    shards: list[Path] = []
    try:
        if path.is_dir():
            shards = _shards(path)
            count = sum(map(_count_shard, shards)) if shards else sum(1 for _ in _image_files(path))
        elif path.suffix == ".jsonl":
            with path.open("rb") as lines:
                count = sum(1 for line in lines if line.strip())
        elif path.is_file() and is_shard(path):
            shards = [path]
            count = _count_shard(path)
        else:
            found = "expected" if path.exists() else "is not there; expected"
            raise ConfigError([f"{path}: {found} a folder, a shard (*.tar), or a list (*.jsonl)"])
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror or error}"]) from error
    if not count and not shards:  # what is the matter with a shard is told when it is read
        what = "line" if path.suffix == ".jsonl" else f"picture ({', '.join(sorted(IMAGE_SUFFIXES))})"
        raise ConfigError([f"{path}: no {what} in it"])
    return Source(path, count)


def is_shard(path: Path) -> bool:
    """Whether a file's name says that it is a tar file."""
    return path.name.endswith(_SHARD_SUFFIXES)


def id_of_path(path: str) -> str:
    """An item's id, in which there are no slashes, from a path with slashes; other paths have other ids."""
    return path.replace("%", "%25").replace(":", "%3A").replace("\\", "%5C").replace("/", ":")


def _shards(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and is_shard(path))


def _image_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            yield path


def _read_folder(folder: Path) -> Iterator[FoundPicture]:
    for path in _image_files(folder):
        inside = path.relative_to(folder).as_posix()
        if not _is_text(inside):
            yield FoundPicture(ascii(str(path)), "", fault="its name is not UTF-8")
            continue
        yield _file(path, str(path), id_of_path(inside), {"path": inside})


def _is_text(name: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in name)


def _file(path: Path, place: str, item_id: str, metadata: dict[str, Any]) -> FoundPicture:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            return FoundPicture(place, item_id, fault="larger than any picture")
        return FoundPicture(place, item_id, path.read_bytes(), metadata=metadata)
    except OSError as error:
        return FoundPicture(place, item_id, fault=f"cannot be read: {error.strerror or error}")


def _read_list(path: Path) -> Iterator[FoundPicture]:
    root = path.parent.resolve()
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield _listed(root, f"{path}:{number}", line)


def _listed(root: Path, place: str, line: bytes) -> FoundPicture:
    try:
        record = _json_object(line)
        image, item_id, metadata = record.get("image"), record.get("id"), record.get("metadata", {})
        if not isinstance(image, str) or not image:
            return FoundPicture(place, str(item_id or ""), fault="image: expected a path or an http(s) URL")
        item_id = id_of_path(image) if item_id is None else str(item_id)
        if not isinstance(metadata, dict):
            return FoundPicture(place, item_id, fault="metadata: expected an object")
        if _URL.match(image):
            return FoundPicture(place, item_id, url=image, metadata=metadata)
        target = (root / image).resolve()
    except ValueError as error:  # also of a path with a NUL in it
        return FoundPicture(place, "", fault=str(error))
    if not target.is_relative_to(root):
        return FoundPicture(place, item_id, fault="image: leads out of the list's own folder")
    return _file(target, place, item_id, metadata)


def _json_object(text: bytes) -> dict[str, Any]:
    """A JSON object that can be sent on: no NaN, no half of a surrogate pair.

    Raises:
        ValueError: it is none; says why.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _count_shard(path: Path) -> int:
    """Pictures of a shard; 0 of one that cannot be read through, which is told when its turn comes."""
    try:
        with tarfile.open(path) as shard:
            return sum(1 for member in shard if member.isfile() and _suffix(member.name) in IMAGE_SUFFIXES)
    except _DAMAGED:
        return 0


def _read_shard(path: Path) -> Iterator[FoundPicture]:
    """Samples of a shard: neighbouring files whose names are the same up to the first dot of the last part."""
    key, files = "", dict[str, bytes]()
    try:
        with tarfile.open(path) as shard:
            for member in shard:
                suffix = _suffix(member.name)
                if not member.isfile() or suffix not in _USED_SUFFIXES:
                    continue
                own = _key(member.name)
                if own != key:
                    yield from _sample(path, key, files)
                    key, files = own, {}
                if member.size > _MAX_FILE_BYTES:
                    yield FoundPicture(f"{path}:{member.name}", id_of_path(own), fault="larger than any picture")
                    continue
                content = shard.extractfile(member)
                if content is not None:
                    files[suffix] = content.read()
            yield from _sample(path, key, files)
    except _DAMAGED as error:
        yield FoundPicture(str(path), "", fault=f"the shard cannot be read on: {error}")


def _sample(path: Path, key: str, files: dict[str, bytes]) -> Iterator[FoundPicture]:
    suffix = next((name for name in files if name in IMAGE_SUFFIXES), None)
    if suffix is None:
        return  # a sample without a picture: img2dataset writes those of failed downloads so
    place, metadata = f"{path}:{key}", dict[str, Any]()
    try:
        if ".json" in files:
            metadata = _json_object(files[".json"])
    except ValueError as error:
        yield FoundPicture(place, id_of_path(key), fault=f"{key}.json: {error}")
        return
    if ".txt" in files and "caption" not in metadata:
        metadata["caption"] = files[".txt"].decode("utf-8", "replace")
    # img2dataset's keys are unique over all shards; others may begin anew in each.
    item_id = str(metadata["key"]) if "key" in metadata else f"{path.name.partition('.')[0]}/{key}"
    yield FoundPicture(place, id_of_path(item_id), files[suffix], metadata=metadata)


def _key(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0]))


def _suffix(name: str) -> str:
    return f".{PurePosixPath(name).name.partition('.')[2].lower()}"
