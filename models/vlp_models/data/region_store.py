"""Precomputed regions of a split's pictures on disk, read one picture at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vlp_pipeline.region_npz import read_region_npz
from vlp_pipeline.regions import FIELD, RegionLimits, Regions
from vlp_spec.errors import ArtifactError, TooLargeError

from vlp_models.data.region_faults import STORED_REGION_LIMITS, named_faults, no_regions
from vlp_models.data.region_pack import RegionPack, is_region_pack
from vlp_models.data.region_tsv_index import RegionTsv
from vlp_models.data.uniter_lmdb import holds_uniter_images, open_uniter_images

NPZ_SUFFIX = ".npz"


class RegionFeatureStore(Protocol):
    """Regions by picture id, unselected unless the store says otherwise; several threads may read."""

    def ids(self) -> Sequence[str]:
        """The pictures, in the store's order."""
        ...

    def regions(self, picture_id: str) -> Regions:
        """The regions of one picture, read from disk.

        Raises:
            InvalidArgumentError: the picture is not there, or its regions cannot be used; of field "regions".
            TooLargeError: they are over a limit.
        """
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


@dataclass(frozen=True)
class RegionNpzFolder:
    """A folder of .npz files, one a picture, as UNITER's feature extraction writes them; an id is a name without .npz.

    Attributes:
        root: the folder; files in folders below it are not seen.
        limits: of each file.
    """

    root: Path
    limits: RegionLimits = STORED_REGION_LIMITS

    def ids(self) -> Sequence[str]:
        """Names without .npz, in alphabetical order."""
        return sorted(path.name.removesuffix(NPZ_SUFFIX) for path in self.root.glob(f"*{NPZ_SUFFIX}") if path.is_file())

    def regions(self, picture_id: str) -> Regions:
        """Read a file; see `RegionFeatureStore`."""
        path = self.root / f"{picture_id}{NPZ_SUFFIX}"
        if not _is_plain_name(picture_id) or not path.is_file():
            raise no_regions(picture_id, self.root)
        with named_faults(path.name):
            try:
                with path.open("rb") as file:
                    data = file.read(self.limits.max_bytes + 1)
            except OSError as error:
                raise no_regions(picture_id, f"{self.root} that can be read ({error.strerror})") from error
            if len(data) > self.limits.max_bytes:
                raise TooLargeError(f"{FIELD}: the file has over {self.limits.max_bytes} bytes")
            return read_region_npz(data, self.limits)

    def close(self) -> None:
        """Nothing is held open."""


def _is_plain_name(picture_id: str) -> bool:
    """Whether an id can only name a file of the folder itself."""
    return not set("/\\\0") & set(picture_id) and 0 < len(picture_id.encode(errors="replace")) < 250


def open_region_store(path: Path, limits: RegionLimits = STORED_REGION_LIMITS) -> RegionFeatureStore:
    """Find out in which form regions lie at a path, and open them.

    Args:
        path: a .tsv file; or a folder that `RegionPackWriter` has written, one with UNITER's LMDB in it (selected as
            all its released models are), or one of .npz files.
        limits: of each picture's regions.

    Raises:
        ArtifactError: there is nothing, or none of these.
        ConfigError: a library that reads it is not installed.
    """
    if path.is_file() and path.suffix == ".tsv":
        return RegionTsv.open(path, limits)
    if not path.is_dir():
        raise ArtifactError(f"{path}: expected a .tsv file or a folder with regions")
    if is_region_pack(path):
        return RegionPack.open(path, limits)
    if holds_uniter_images(path):
        return open_uniter_images(path, limits=limits)
    folder = RegionNpzFolder(path, limits)
    if not folder.ids():
        raise ArtifactError(f"{path}: no regions in it; expected .npz files, UNITER's LMDB, or a written region pack")
    return folder
