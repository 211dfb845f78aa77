"""Where `vlpserve index` finds pictures: a folder, WebDataset shards as img2dataset writes them, or a JSONL list."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from vlp_spec.errors import ConfigError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
_SHARD_SUFFIXES = (".tar", ".tar.gz", ".tgz")
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
        count: how many there are.
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
        ConfigError: nothing is there, or it is none of the three.
    """
    try:
        if path.is_dir():
            shards = _shards(path)
            count = sum(map(_count_shard, shards)) if shards else sum(1 for _ in _image_files(path))
        elif path.suffix == ".jsonl":
            with path.open("rb") as lines:
                count = sum(1 for line in lines if line.strip())
        elif is_shard(path):
            count = _count_shard(path)
        else:
            raise ConfigError([f"{path}: expected a folder, a shard (*.tar), or a list (*.jsonl)"])
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror or error}"]) from error
    except tarfile.TarError as error:
        raise ConfigError([f"{path}: not a tar file ({error})"]) from error
    return Source(path, count)


def is_shard(path: Path) -> bool:
    """Whether a file's name says that it is a tar file."""
    return path.name.endswith(_SHARD_SUFFIXES)


def id_of_path(path: str) -> str:
    """An item's id, in which there are no slashes, from a path with slashes."""
    return path.replace("\\", ":").replace("/", ":")


def _shards(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and is_shard(path))


def _image_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            yield path


def _read_folder(folder: Path) -> Iterator[FoundPicture]:
    for path in _image_files(folder):
        inside = path.relative_to(folder).as_posix()
        yield _file(path, str(path), id_of_path(inside), {"path": inside})


def _file(path: Path, place: str, item_id: str, metadata: dict[str, Any]) -> FoundPicture:
    try:
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
        record = json.loads(line)
    except ValueError as error:
        return FoundPicture(place, "", fault=f"not JSON: {error}")
    if not isinstance(record, dict):
        return FoundPicture(place, "", fault="expected a JSON object")
    image, item_id, metadata = record.get("image"), record.get("id"), record.get("metadata", {})
    if not isinstance(image, str) or not image:
        return FoundPicture(place, str(item_id or ""), fault="image: expected a path or an http(s) URL")
    item_id = id_of_path(image) if item_id is None else str(item_id)
    if not isinstance(metadata, dict):
        return FoundPicture(place, item_id, fault="metadata: expected an object")
    if _URL.match(image):
        return FoundPicture(place, item_id, url=image, metadata=metadata)
    target = (root / image).resolve()
    if not target.is_relative_to(root):
        return FoundPicture(place, item_id, fault="image: leads out of the list's own folder")
    return _file(target, place, item_id, metadata)


def _count_shard(path: Path) -> int:
    with tarfile.open(path) as shard:
        return sum(1 for member in shard if member.isfile() and _suffix(member.name) in IMAGE_SUFFIXES)


def _read_shard(path: Path) -> Iterator[FoundPicture]:
    """Samples of a shard: neighbouring files whose names are the same up to the first dot of the last part."""
    key, files = "", dict[str, bytes]()
    with tarfile.open(path) as shard:
        for member in shard:
            if not member.isfile():
                continue
            own = _key(member.name)
            if own != key:
                if files:
                    yield from _sample(path, key, files)
                key, files = own, {}
            if member.size > _MAX_FILE_BYTES:
                yield FoundPicture(f"{path}:{member.name}", id_of_path(own), fault="larger than any picture")
                continue
            content = shard.extractfile(member)
            if content is not None:
                files[_suffix(member.name)] = content.read()
        if files:
            yield from _sample(path, key, files)


def _sample(path: Path, key: str, files: dict[str, bytes]) -> Iterator[FoundPicture]:
    suffix = next((name for name in files if name in IMAGE_SUFFIXES), None)
    if suffix is None:
        return  # a sample without a picture: img2dataset writes those of failed downloads so
    metadata: dict[str, Any] = {}
    try:
        if ".json" in files:
            found = json.loads(files[".json"])
            metadata = found if isinstance(found, dict) else {}
    except ValueError as error:
        yield FoundPicture(f"{path}:{key}", id_of_path(key), fault=f"{key}.json: not JSON: {error}")
        return
    if ".txt" in files and "caption" not in metadata:
        metadata["caption"] = files[".txt"].decode("utf-8", "replace")
    yield FoundPicture(f"{path}:{key}", id_of_path(str(metadata.get("key") or key)), files[suffix], metadata=metadata)


def _key(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0]))


def _suffix(name: str) -> str:
    return f".{PurePosixPath(name).name.partition('.')[2].lower()}"
