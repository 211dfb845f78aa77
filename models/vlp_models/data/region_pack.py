"""Regions of many pictures in few files that are mapped into memory.

A pack is a folder:

    meta.json                    format, version, numbers of pictures and regions, names of the arrays
    pictures.json                [[id, regions], ...] in the order of the arrays
    features.npy                 (total, F) float16
    positions.npy                (total, 7) float32; the first four are the boxes
    scores.npy                   (total,) float32, where the detector's are known
    class_probabilities.npy      (total, C) float16, likewise

Features in float16 are what UNITER's own files hold. The folder appears whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from vlp_pipeline.npy_header import npy_header, read_npy_header
from vlp_pipeline.regions import RegionLimits, Regions, check_regions, invalid_regions
from vlp_spec.errors import ArtifactError
from vlp_spec.files import sync_path, write_synced

from vlp_models.checkpoints.json_file import read_json, read_json_object
from vlp_models.data.region_faults import STORED_REGION_LIMITS, named_faults, no_regions

_FORMAT, _VERSION = "vlpserve-regions", 1
_META, _PICTURES = "meta.json", "pictures.json"
_DTYPES: dict[str, type[np.floating]] = {
    "features": np.float16,
    "positions": np.float32,
    "scores": np.float32,
    "class_probabilities": np.float16,
}
_NEEDED = ("features", "positions")
_WIDTHS = {"positions": (7,), "scores": ()}


class RegionPackWriter:
    """Writes a pack picture by picture; leaving its `with` block finishes it, or drops it where there was an error.

    Args:
        folder: what is written; it must not exist.

    Raises:
        ArtifactError: it exists, or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pictures: dict[str, int] = {}
        self._files: dict[str, BinaryIO] = {}
        self._row_shapes: dict[str, tuple[int, ...]] = {}
        self._check_new()
        self._temporary = folder.with_name(f".{folder.name}-{os.getpid()}")
        try:
            self._temporary.mkdir(parents=True)
        except OSError as error:
            raise ArtifactError(f"{folder}: cannot be written ({error.strerror})") from error

    def add(self, picture_id: str, regions: Regions) -> None:
        """Append a picture.

        Raises:
            InvalidArgumentError: the id is empty or was there before, the arrays are not those of the first picture in
                kind and width, or a feature is too large for float16; nothing of the picture is then kept.
            OSError: it cannot be written; the pack is to be dropped.
        """
        if not picture_id or picture_id in self._pictures:
            raise invalid_regions(f"picture {picture_id!r:.80}: an empty id, or one that was there before")
        arrays = {name: getattr(regions, name) for name in _DTYPES if getattr(regions, name) is not None}
        row_shapes = {name: array.shape[1:] for name, array in arrays.items()}
        if self._row_shapes and row_shapes != self._row_shapes:
            raise invalid_regions(
                f"picture {picture_id!r:.80}: rows of {row_shapes}, those before of {self._row_shapes}"
            )
        with np.errstate(over="ignore"):
            stored = {name: np.ascontiguousarray(array, dtype=_DTYPES[name]) for name, array in arrays.items()}
        for name, array in stored.items():
            if not np.isfinite(array).all():
                raise invalid_regions(f"picture {picture_id!r:.80}: {name}: a number too large for float16")
        if not self._files:
            self._begin(row_shapes)
        for name, array in stored.items():
            self._files[name].write(array.data)
        self._pictures[picture_id] = len(regions)

    def finish(self) -> None:
        """Complete the files, bring them to the disk, and give the folder its name.

        Raises:
            ArtifactError: no picture was added, the folder exists by now, or it cannot be written.
        """
        if not self._pictures:
            raise ArtifactError(f"{self._folder}: no picture to write")
        self._check_new()
        total = sum(self._pictures.values())
        try:
            for name, file in self._files.items():
                file.seek(0)
                file.write(npy_header(_DTYPES[name], (total, *self._row_shapes[name])))
                file.close()
                sync_path(self._temporary / f"{name}.npy")
            write_synced(self._temporary / _PICTURES, json.dumps(list(self._pictures.items())))
            meta = {"format": _FORMAT, "version": _VERSION, "pictures": len(self._pictures), "regions": total}
            write_synced(self._temporary / _META, json.dumps({**meta, "arrays": list(self._files)}))
            sync_path(self._temporary)
            self._temporary.rename(self._folder)
            sync_path(self._folder.parent)
        except OSError as error:
            raise ArtifactError(f"{self._folder}: cannot be written ({error.strerror})") from error

    def drop(self) -> None:
        """Remove what was written; nothing where it is finished."""
        for file in self._files.values():
            file.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def __enter__(self) -> RegionPackWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self.drop()

    def _check_new(self) -> None:
        if self._folder.exists():
            raise ArtifactError(f"{self._folder}: is there already; regions are not written over it")

    def _begin(self, row_shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Open the files, with headers that are written again once the number of regions is known."""
        self._row_shapes = dict(row_shapes)
        for name, shape in row_shapes.items():
            self._files[name] = (self._temporary / f"{name}.npy").open("wb")
            self._files[name].write(npy_header(_DTYPES[name], (0, *shape)))


def is_region_pack(folder: Path) -> bool:
    """Whether a folder looks like a pack."""
    return (folder / _META).is_file() and (folder / _PICTURES).is_file()


@dataclass(frozen=True)
class RegionPack:
    """A pack, mapped.

    Attributes:
        folder: of the pack.
        limits: of each picture's regions.
        spans: picture id -> its first row, and the one after its last.
        arrays: name -> all rows, as in the files.
    """

    folder: Path
    limits: RegionLimits
    spans: Mapping[str, tuple[int, int]]
    arrays: dict[str, np.ndarray]

    @classmethod
    def open(cls, folder: Path, limits: RegionLimits = STORED_REGION_LIMITS) -> RegionPack:
        """Map the files and check that they belong together; regions are checked when they are read.

        Raises:
            ArtifactError: no pack, one of another version, or files that are cut, or do not fit each other.
        """
        meta = read_json_object(folder / _META)
        if meta.get("format") != _FORMAT or meta.get("version") != _VERSION:
            raise ArtifactError(f"{folder / _META}: expected format {_FORMAT!r}, version {_VERSION}")
        names = meta.get("arrays")
        if not isinstance(names, list) or not set(_NEEDED) <= set(map(str, names)) <= set(_DTYPES):
            raise ArtifactError(f"{folder / _META}: arrays: expected {', '.join(_NEEDED)}, and known ones besides")
        spans = _read_spans(folder / _PICTURES)
        total = max(end for _, end in spans.values())
        return cls(folder, limits, spans, {name: _map_array(folder, name, total) for name in names})

    def ids(self) -> Sequence[str]:
        """The pictures in the order in which they were added."""
        return list(self.spans)

    def regions(self, picture_id: str) -> Regions:
        """Copy a picture's rows into a record; see `RegionFeatureStore`."""
        if picture_id not in self.spans:
            raise no_regions(picture_id, self.folder)
        start, end = self.spans[picture_id]
        rows = {name: array[start:end] for name, array in self.arrays.items()}
        positions = rows["positions"]
        with named_faults(f"{self.folder.name}, picture {picture_id!r:.80}"):
            # The positions hold the boxes as they were given; clipped again, they are the record's.
            return check_regions(
                positions[:, :4],
                rows["features"],
                sides=positions[:, 4:6],
                scores=rows.get("scores"),
                class_probabilities=rows.get("class_probabilities"),
                limits=self.limits,
            )

    def close(self) -> None:
        """Let go of the mapped files; no further regions can be read."""
        self.arrays.clear()


def _read_spans(path: Path) -> dict[str, tuple[int, int]]:
    spans: dict[str, tuple[int, int]] = {}
    end = 0
    pictures = read_json(path)
    if not isinstance(pictures, list) or not pictures:
        raise ArtifactError(f"{path}: expected a list of pictures")
    for item in pictures:
        if not isinstance(item, list) or [type(part) for part in item] != [str, int] or item[1] < 1 or item[0] in spans:
            raise ArtifactError(f"{path}: picture {len(spans)}: expected [id, number of regions], each id once")
        start, end = end, end + item[1]
        spans[item[0]] = start, end
    return spans


def _map_array(folder: Path, name: str, total: int) -> np.ndarray:
    path = folder / f"{name}.npy"
    try:
        with path.open("rb") as file:
            header = read_npy_header(file)
        found = path.stat().st_size
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}") from error
    fits = header.shape[:1] == (total,) and len(header.shape) == (1 if name == "scores" else 2)
    if header.dtype != _DTYPES[name] or header.column_major or not fits:
        raise ArtifactError(f"{path}: {header.dtype} of shape {header.shape}, expected rows of {total} regions")
    if header.shape[1:] != _WIDTHS.get(name, header.shape[1:]) or 0 in header.shape:
        raise ArtifactError(f"{path}: rows of {header.shape[1:]}, expected {_WIDTHS.get(name, 'at least 1')}")
    if found != header.length_bytes + header.size_bytes:
        raise ArtifactError(f"{path}: {found} bytes, expected {header.length_bytes + header.size_bytes}; cut short?")
    return np.memmap(path, dtype=header.dtype, mode="r", offset=header.length_bytes, shape=header.shape)
