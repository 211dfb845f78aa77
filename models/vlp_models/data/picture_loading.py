"""From a source on disk to records and a picture store, with the pictures decoded by several threads."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from vlp_pipeline.images import ImageLimits, decode_image
from vlp_spec.errors import RequestError

from vlp_models.data.faults import FaultCounter
from vlp_models.data.pictures import PictureStore, grey_store
from vlp_models.data.records import PictureRecord
from vlp_models.data.sources import PictureSource, RawPicture

logger = logging.getLogger(__name__)
Prepared = tuple[np.ndarray, np.ndarray]
_CACHE_VERSION = 2  # of what a cached record holds


class Preparation(Protocol):
    """How a family's pictures are made from decoded ones; without state, so that several threads may use it."""

    @property
    def settings(self) -> Any:
        """The image processor's frozen settings, a dataclass: what the result depends on."""
        ...

    @property
    def patch_size(self) -> int:
        """Side in pixels of the square patches."""
        ...

    @property
    def grey_grid(self) -> tuple[int, int]:
        """Rows and columns of patches of the picture that stands for every picture in a blind run."""
        ...

    def __call__(self, pixels: np.ndarray) -> Prepared:
        """(H, W, 3) uint8 to patches (n, P*P*3) uint8, and grid (2,) int32 with rows * columns = n."""
        ...


@dataclass(frozen=True)
class PictureOptions:
    """How pictures are prepared and kept.

    Attributes:
        preparation: the family's.
        blind: every picture is replaced by one grey picture (the question-only baseline).
        cache_dir: prepared pictures go to a mapped file there instead of memory; None keeps them in memory.
        limit: read at most this many pictures; 0 reads all.
        threads: decoding threads.
    """

    preparation: Preparation
    blind: bool = False
    cache_dir: Path | None = None
    limit: int = 0
    threads: int = 2


@dataclass(frozen=True)
class PictureSplit:
    """A split, read: record i belongs to picture i of the store."""

    name: str
    records: tuple[PictureRecord, ...]
    pictures: PictureStore


def load_pictures(source: PictureSource, split: str, options: PictureOptions) -> PictureSplit:
    """Read, decode and prepare a whole split.

    Raises:
        ArtifactError: nothing could be read, or more than 1 % of the records or pictures are faulty.
    """
    started = time.monotonic()
    if options.cache_dir is None:
        loaded = _load(source, split, options, _MemoryWriter())
    else:
        loaded = _load_mapped(source, split, options, options.cache_dir)
    seconds = time.monotonic() - started
    logger.info("%s: %d pictures ready in %.1f s", split, len(loaded.records), seconds)
    return loaded


class _MemoryWriter:
    """Keeps every picture's patches as an array of its own."""

    def __init__(self) -> None:
        self.patches: list[np.ndarray] = []

    def add(self, patches: np.ndarray) -> None:
        self.patches.append(patches)


class _FileWriter:
    """Appends every picture's patches to one flat file."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")

    def add(self, patches: np.ndarray) -> None:
        self.file.write(np.ascontiguousarray(patches).data)


def _load(
    source: PictureSource, split: str, options: PictureOptions, writer: _MemoryWriter | _FileWriter
) -> PictureSplit:
    """Read everything in order, decoding a few pictures ahead; the result does not depend on the threads."""
    faults = FaultCounter(split)
    preparation, limits = options.preparation, ImageLimits()

    def prepare(raw: RawPicture) -> Prepared:
        return preparation(decode_image(raw.image, limits))

    records: list[PictureRecord] = []
    grids: list[np.ndarray] = []
    for raw, future in _ahead(source.read(faults), prepare, options):
        if future is not None:
            try:
                patches, grid = future.result()
            except RequestError as error:
                faults.note(raw.place, error)
                continue
            writer.add(patches)
            grids.append(grid)
        records.append(raw.record)
    faults.check(len(records))
    if options.blind:
        grey = grey_store(len(records), preparation.grey_grid, preparation.patch_size)
        return PictureSplit(split, tuple(records), grey)
    patches_list = writer.patches if isinstance(writer, _MemoryWriter) else []
    return PictureSplit(split, tuple(records), PictureStore(patches_list, np.stack(grids).astype(np.int32)))


def _ahead(
    raws: Iterator[RawPicture], prepare: Callable[[RawPicture], Prepared], options: PictureOptions
) -> Iterator[tuple[RawPicture, Future[Prepared] | None]]:
    """Yield records in order with their preparation under way; None where pictures are not looked at."""
    if options.limit:
        raws = (raw for raw, _ in zip(raws, range(options.limit), strict=False))
    if options.blind:
        yield from ((raw, None) for raw in raws)
        return
    waiting: deque[tuple[RawPicture, Future[Prepared]]] = deque()
    with ThreadPoolExecutor(options.threads) as pool:
        for raw in raws:
            waiting.append((raw, pool.submit(prepare, raw)))
            if len(waiting) > 8 * options.threads:
                yield waiting.popleft()
        yield from waiting


def _load_mapped(source: PictureSource, split: str, options: PictureOptions, cache_dir: Path) -> PictureSplit:
    """Prepare into a flat file that is mapped; a later run with the same data and settings reads it again.

    Several processes may do this at once: each writes a file of its own, and the rename makes one of them the
    cache, whole or not at all.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    key = _cache_key(source, split, options)
    flat_path, index_path = cache_dir / f"{split}-{key}.patches", cache_dir / f"{split}-{key}.npz"
    if not index_path.is_file():
        temporary = cache_dir / f".{split}-{key}-{os.getpid()}"
        writer = _FileWriter(temporary)
        with writer.file:
            loaded = _load(source, split, options, writer)
        if options.blind:
            temporary.unlink()
            return loaded
        temporary.rename(flat_path)
        _save_index(index_path, loaded)
    with np.load(index_path, allow_pickle=False) as index:
        grids = index["grids"]
        raw_records = json.loads(bytes(index["records"]))
    flat = np.memmap(flat_path, dtype=np.uint8, mode="r").reshape(-1, options.preparation.patch_size**2 * 3)
    ends = np.cumsum(grids[:, 0] * grids[:, 1])
    views = [flat[end - rows * columns : end] for end, (rows, columns) in zip(ends, grids, strict=True)]
    return PictureSplit(split, _records_from_json(raw_records), PictureStore(views, grids))


def _cache_key(source: PictureSource, split: str, options: PictureOptions) -> str:
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in source.files()]
    text = repr((_CACHE_VERSION, stats, split, asdict(options.preparation.settings), options.limit))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _save_index(path: Path, loaded: PictureSplit) -> None:
    """Write the grids and records; its presence says that the flat file is whole."""
    records = json.dumps([asdict(record) for record in loaded.records]).encode()
    temporary = path.with_name(f".{path.stem}-{os.getpid()}.npz")
    np.savez(temporary, grids=loaded.pictures.grids, records=np.frombuffer(records, dtype=np.uint8))
    temporary.rename(path)


def _records_from_json(raw: list[dict[str, object]]) -> tuple[PictureRecord, ...]:
    from vlp_models.data.records import Question, Region
    from vlp_models.scenes.scene_record import read_scene

    return tuple(
        PictureRecord(
            str(item["id"]),
            str(item["image"]),
            tuple(item["captions"]),  # type: ignore[arg-type]
            tuple(Question(**one | {"human": tuple(one.get("human", ()))}) for one in item["questions"]),  # type: ignore[attr-defined]
            tuple(Region(tuple(region["box"]), tuple(region["words"])) for region in item["regions"]),  # type: ignore[attr-defined]
            read_scene(item.get("scene")),
        )
        for item in raw
    )
