"""Reading a split from disk, whichever way it lies there: JSONL with an image folder, or WebDataset shards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from vlp_spec.errors import ArtifactError, RequestError

from vlp_models.data.faults import FaultCounter
from vlp_models.data.records import PictureRecord, parse_record

FORMATS = ("auto", "jsonl", "shards")
IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")


@dataclass(frozen=True, slots=True)
class RawPicture:
    """A record with the picture's encoded bytes; `place` says where it came from."""

    place: str
    record: PictureRecord
    image: bytes


class PictureSource(Protocol):
    """Iterates a split in its order on disk; faulty records go to `faults` and are left out."""

    def read(self, faults: FaultCounter) -> Iterator[RawPicture]:
        """Yield the readable records."""
        ...

    def read_records(self, faults: FaultCounter) -> Iterator[PictureRecord]:
        """Yield the readable records alone, without looking at pictures where they lie apart."""
        ...

    def files(self) -> list[Path]:
        """The files whose change means other data (image files apart)."""
        ...


@dataclass(frozen=True)
class JsonlSource:
    """`<root>/<split>.jsonl`, one record a line, image paths relative to the root."""

    root: Path
    split: str

    def files(self) -> list[Path]:
        """The JSONL file."""
        return [self.root / f"{self.split}.jsonl"]

    def read(self, faults: FaultCounter) -> Iterator[RawPicture]:
        """Yield the records whose line and image file can be read."""
        for place, record in self._parse(faults):
            try:
                image = (self.root / record.image).read_bytes()
            except (OSError, ValueError) as error:
                faults.note(place, error)
                continue
            yield RawPicture(place, record, image)

    def read_records(self, faults: FaultCounter) -> Iterator[PictureRecord]:
        """Yield the records whose line can be read."""
        return (record for _, record in self._parse(faults))

    def _parse(self, faults: FaultCounter) -> Iterator[tuple[str, PictureRecord]]:
        path = self.files()[0]
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                place = f"{path.name}:{number}"
                try:
                    yield place, parse_record(json.loads(line), key=str(number))
                except (RequestError, ValueError) as error:
                    faults.note(place, error)


@dataclass(frozen=True)
class ShardSource:
    """`<root>/<split>-NNNNNN.tar`, members `<key>.json` and `<key>.jpg` (or png, webp), read by webdataset."""

    root: Path
    split: str

    def files(self) -> list[Path]:
        """The shards in the order of their names."""
        return sorted(self.root.glob(f"{self.split}-[0-9]*.tar"))

    def read(self, faults: FaultCounter) -> Iterator[RawPicture]:
        """Yield the samples that have a record and a picture; a broken shard ends at its break."""
        for path in self.files():
            for sample in _samples(path, faults):
                place = f"{path.name}:{sample['__key__']}"
                try:
                    image = _image_of(sample)
                    record = parse_record(json.loads(sample["json"]), key=sample["__key__"])
                except KeyError:
                    faults.note(place, ValueError("no record: expected a member ending in .json"))
                except (RequestError, ValueError) as error:
                    faults.note(place, error)
                else:
                    yield RawPicture(place, record, image)

    def read_records(self, faults: FaultCounter) -> Iterator[PictureRecord]:
        """Yield the records of all readable samples."""
        return (raw.record for raw in self.read(faults))


def _samples(path: Path, faults: FaultCounter) -> Iterator[dict[str, Any]]:
    """Members of one shard grouped by key. webdataset's own opener would leave the file open."""
    from webdataset.tariterators import group_by_keys, tar_file_expander

    def skip(error: Exception) -> bool:
        faults.note(path.name, error)
        return True

    with path.open("rb") as stream:
        members = tar_file_expander([{"url": path.name, "stream": stream}], handler=skip)
        yield from group_by_keys(members, handler=skip)


def _image_of(sample: dict[str, Any]) -> bytes:
    for suffix in IMAGE_SUFFIXES:
        if suffix in sample:
            return bytes(sample[suffix])
    raise ValueError(f"no picture: expected a member ending in one of {', '.join(IMAGE_SUFFIXES)}")


def has_split(root: Path, split: str) -> bool:
    """Whether the dataset at `root` holds `split` in either form."""
    return bool(JsonlSource(root, split).files()[0].is_file() or ShardSource(root, split).files())


def open_source(root: Path, split: str, form: str = "auto") -> PictureSource:
    """Find a split.

    Args:
        root: dataset folder.
        split: such as "train".
        form: "jsonl", "shards", or "auto" (JSONL where it is there).

    Raises:
        ArtifactError: the split is not there in that form; says what is.
    """
    if form not in FORMATS:
        raise ArtifactError(f"format {form!r} is none of {', '.join(FORMATS)}")
    jsonl, shards = JsonlSource(root, split), ShardSource(root, split)
    if form != "shards" and jsonl.files()[0].is_file():
        return jsonl
    if form != "jsonl" and shards.files():
        return shards
    present = sorted({path.stem for path in root.glob("*.jsonl")} | {path.name for path in root.glob("*.tar")})
    found = ", ".join(present[:8]) or "no .jsonl or .tar file"
    raise ArtifactError(f"dataset {root}: no split {split!r} (format {form}); found: {found}")
