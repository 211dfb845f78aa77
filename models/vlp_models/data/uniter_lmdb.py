"""UNITER's image databases: regions of a split's pictures in an LMDB.

    <root>/feat_th0.2_max100_min10[_compressed]/data.mdb   rows cut to what is selected
    <root>/nbb_th0.2_max100_min10.json                     {file: number of rows selected}
    <root>/feat_numbb36[_compressed]/data.mdb              a fixed number (conf_th -1)
    <root>/all[_compressed]/data.mdb                       all rows, where no counts lie beside it

A key is the name of the .npz file that its value was made of; the value holds the same arrays, as msgpack or as a
compressed .npz. Source: ChenRocks/UNITER @1dbfa62, scripts/convert_imgdir.py and data/data.py (DetectFeatLmdb).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlp_pipeline.region_npz import read_region_npz
from vlp_pipeline.regions import RegionLimits, Regions, check_regions, count_selected, invalid_regions
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.json_file import read_json_object
from vlp_models.data.lmdb_file import LmdbFile, is_lmdb
from vlp_models.data.msgpack_arrays import unpack_arrays
from vlp_models.data.region_faults import STORED_REGION_LIMITS, named_faults, no_regions

_SUFFIX = ".npz"
_KEYS = "__keys__"
_ALL = "all"
_COMPRESSED = "_compressed"
_ARRAYS = ("features", "norm_bb", "conf", "soft_labels")


@dataclass(frozen=True, slots=True)
class UniterSelection:
    """How many of a picture's regions are used; the names of files follow.

    Attributes:
        min_score: what the detector's confidence must exceed (conf_th); -1: always `num_regions`.
        max_regions: at most (max_bb).
        min_regions: at least (min_bb).
        num_regions: the fixed number (num_bb).
    """

    min_score: float = 0.2
    max_regions: int = 100
    min_regions: int = 10
    num_regions: int = 36

    @property
    def is_fixed(self) -> bool:
        """Whether every picture has `num_regions`."""
        return self.min_score == -1

    @property
    def folder_name(self) -> str:
        """Of the LMDB, without the suffix of the compressed form."""
        return f"feat_numbb{self.num_regions}" if self.is_fixed else f"feat_{self._bounds}"

    @property
    def counts_name(self) -> str:
        """Of the file with the counts; there is none where the number is fixed."""
        return f"nbb_{self._bounds}.json"

    @property
    def _bounds(self) -> str:
        return f"th{self.min_score}_max{self.max_regions}_min{self.min_regions}"


DEFAULT_UNITER_SELECTION = UniterSelection()


class UniterImageLmdb:
    """Regions by picture id, which is the file's name without .npz; already selected.

    Args:
        file: the opened LMDB; closed with this.
        is_compressed: whether values are .npz files.
        selection: of regions.
        counts: picture's id -> rows selected; None: by `selection` from each picture's scores.
        limits: of each picture's rows.

    Raises:
        ArtifactError: the LMDB does not list its keys.
    """

    def __init__(
        self,
        file: LmdbFile,
        *,
        is_compressed: bool,
        selection: UniterSelection,
        counts: Mapping[str, int] | None,
        limits: RegionLimits,
    ) -> None:
        self._file, self._is_compressed, self._selection = file, is_compressed, selection
        self._counts, self._limits = counts, limits
        self._ids = _read_keys(file)

    def ids(self) -> Sequence[str]:
        """The pictures in the order of the LMDB's own list."""
        return self._ids

    def regions(self, picture_id: str) -> Regions:
        """Read a picture's selected rows; see `RegionFeatureStore`."""
        data = self._file.get(f"{picture_id}{_SUFFIX}")
        if data is None:
            raise no_regions(picture_id, self._file.folder)
        with named_faults(f"{self._file.folder.name}, picture {picture_id!r:.80}"):
            regions = (read_region_npz if self._is_compressed else _read_msgpack)(data, self._limits)
            return regions.first(self._count(picture_id, regions))

    def count(self, picture_id: str) -> int:
        """How many regions of a picture are selected, read from the counts where they are there.

        Raises:
            InvalidArgumentError: as `regions`.
        """
        if self._counts is not None and picture_id in self._counts:
            return self._counts[picture_id]
        return len(self.regions(picture_id))

    def close(self) -> None:
        """Close the LMDB."""
        self._file.close()

    def _count(self, picture_id: str, regions: Regions) -> int:
        if self._selection.is_fixed:
            return self._selection.num_regions
        if self._counts is not None:
            if picture_id not in self._counts:
                raise invalid_regions(f"{self._selection.counts_name} does not name it")
            return self._counts[picture_id]
        if regions.scores is None:
            raise invalid_regions("no array 'conf', which says how many regions are used")
        bounds = self._selection
        return count_selected(
            regions.scores,
            max_regions=bounds.max_regions,
            min_regions=bounds.min_regions,
            min_score=bounds.min_score,
        )


def holds_uniter_images(root: Path) -> bool:
    """Whether a folder looks like one of UNITER's image databases, selected as all released models are."""
    return _find_folder(root, DEFAULT_UNITER_SELECTION, None) is not None


def open_uniter_images(
    root: Path,
    selection: UniterSelection = DEFAULT_UNITER_SELECTION,
    *,
    is_compressed: bool | None = None,
    limits: RegionLimits = STORED_REGION_LIMITS,
) -> UniterImageLmdb:
    """Open the LMDB of a split.

    Args:
        root: such as img_db/coco_val2014.
        selection: says which of the databases in it.
        is_compressed: which form; None takes the one that is there, msgpack before .npz.
        limits: of each picture's rows.

    Raises:
        ArtifactError: it is not there, no LMDB, cut short, or its counts are none.
        ConfigError: lmdb is not installed.
    """
    folder = _find_folder(root, selection, is_compressed)
    if folder is None:
        raise ArtifactError(f"{root}: no LMDB {selection.folder_name} or {_ALL} in it, with or without {_COMPRESSED}")
    counts_path = root / selection.counts_name
    counts = None
    if not selection.is_fixed and counts_path.is_file():
        counts = _read_counts(counts_path)
    file = LmdbFile(folder, limits.max_bytes)
    try:
        return UniterImageLmdb(
            file,
            is_compressed=folder.name.endswith(_COMPRESSED),
            selection=selection,
            counts=counts,
            limits=limits,
        )
    except ArtifactError:
        file.close()
        raise


def _find_folder(root: Path, selection: UniterSelection, is_compressed: bool | None) -> Path | None:
    """As the original does it: the selected rows if they are counted, or else all rows."""
    counted = selection.is_fixed or (root / selection.counts_name).is_file()
    base = selection.folder_name if counted else _ALL
    suffixes = {None: ("", _COMPRESSED), False: ("",), True: (_COMPRESSED,)}[is_compressed]
    return next((root / f"{base}{suffix}" for suffix in suffixes if is_lmdb(root / f"{base}{suffix}")), None)


def _read_counts(path: Path) -> dict[str, int]:
    counts = read_json_object(path)
    for name, count in counts.items():
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ArtifactError(f"{path}: {name!r:.80}: expected a number of regions, 1 or more")
    return {name.removesuffix(_SUFFIX): count for name, count in counts.items()}


def _read_keys(file: LmdbFile) -> list[str]:
    raw = file.get(_KEYS)
    try:
        keys = None if raw is None else json.loads(raw)
    except (ValueError, RecursionError):
        keys = None
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ArtifactError(f"{file.folder}: {_KEYS}: expected a JSON list of file names")
    return [key.removesuffix(_SUFFIX) for key in keys]


def _read_msgpack(data: bytes, limits: RegionLimits) -> Regions:
    try:
        arrays = unpack_arrays(data, _ARRAYS)
    except ValueError as error:
        raise invalid_regions(str(error)) from error
    boxes = arrays.get("norm_bb")
    if boxes is None or "features" not in arrays:
        raise invalid_regions("both features and norm_bb are needed")
    if boxes.ndim != 2 or boxes.shape[1] != 6:
        raise invalid_regions(f"norm_bb: got shape {boxes.shape}, expected (regions, 6)")
    return check_regions(
        boxes[:, :4],
        arrays["features"],
        sides=boxes[:, 4:],
        scores=arrays.get("conf"),
        class_probabilities=arrays.get("soft_labels"),
        limits=limits,
    )
