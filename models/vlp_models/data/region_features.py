"""The region features of a split's pictures, in the order of its records, served by index as padded batches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vlp_pipeline.regions import select_regions
from vlp_spec.errors import ArtifactError, RequestError

from vlp_models.data.faults import FaultCounter
from vlp_models.data.records import PictureRecord
from vlp_models.data.region_pack import RegionPack
from vlp_models.data.region_store import open_region_store

logger = logging.getLogger(__name__)
_MIN_REGIONS = 10
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class RegionFeatures:
    """Regions of many pictures, row after row.

    Attributes:
        spans: (pictures, 2) int64, a picture's first row, and the one after its last.
        features: (rows, F) float16 or float32; in memory, or mapped.
        positions: (rows, 7) float32.
        class_probabilities: (rows, C), the background first; None where the detector's are not known.
        max_regions: of a picture; the first ones are taken.
    """

    spans: np.ndarray
    features: np.ndarray
    positions: np.ndarray
    class_probabilities: np.ndarray | None = None
    max_regions: int = 100

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def region_size(self) -> int:
        """Numbers of a region's features."""
        return int(self.features.shape[1])

    def counts(self, indices: np.ndarray) -> np.ndarray:
        """(B,) int64: regions of some pictures."""
        spans = self.spans[indices]
        return np.minimum(spans[:, 1] - spans[:, 0], self.max_regions)

    def boxes(self, index: int) -> np.ndarray:
        """(R, 4) float32 shares of one picture."""
        first = int(self.spans[index, 0])
        return np.asarray(self.positions[first : first + int(self.counts(np.array([index]))[0]), :4])

    def arrays(self, indices: np.ndarray) -> Arrays:
        """Build a padded batch.

        Args:
            indices: (B,) int, picture numbers.

        Returns:
            region_features (B, R, F) in the dtype of `features`, region_positions (B, R, 7) float32 and region_mask
            (B, R) bool; all 0 after a picture's own.
        """
        return {
            "region_features": self._padded(self.features, indices),
            "region_positions": self._padded(self.positions, indices),
            "region_mask": np.arange(int(self.counts(indices).max())) < self.counts(indices)[:, None],
        }

    def probabilities(self, indices: np.ndarray) -> np.ndarray:
        """(B, R, C): classes as the detector saw them; 0 after a picture's own.

        Raises:
            ArtifactError: they are not known.
        """
        if self.class_probabilities is None:
            raise ArtifactError("the regions hold no class probabilities, which learning masked classes needs")
        return self._padded(self.class_probabilities, indices)

    def _padded(self, rows: np.ndarray, indices: np.ndarray) -> np.ndarray:
        counts = self.counts(indices)
        batch = np.zeros((len(indices), int(counts.max()), rows.shape[1]), dtype=rows.dtype)
        for row, (index, count) in enumerate(zip(indices, counts, strict=True)):
            first = self.spans[index, 0]
            batch[row, :count] = rows[first : first + count]
        return batch


def blind_regions(pictures: int, region_size: int) -> RegionFeatures:
    """The same empty region for every picture: what a text-only baseline is trained on."""
    whole = np.array([[0, 0, 1, 1, 1, 1, 1]], dtype=np.float32)
    return RegionFeatures(
        np.tile(np.array([[0, 1]]), (pictures, 1)), np.zeros((1, region_size), dtype=np.float32), whole
    )


def load_region_features(
    path: Path, records: Sequence[PictureRecord], split: str, *, max_regions: int = 100
) -> tuple[tuple[PictureRecord, ...], RegionFeatures]:
    """Find the regions of some records; a record whose picture has none is left out.

    A pack is mapped. Of the other forms all features are held in memory, at half precision; for more than fits there,
    write a pack first (`vlpserve detector repack`).

    Args:
        path: whatever `open_region_store` opens.
        records: of the split.
        split: named in messages.
        max_regions: of a picture.

    Raises:
        ArtifactError: no such store, or more than 1 % of the records have no regions there.
    """
    store = open_region_store(path)
    faults = FaultCounter(split)
    if isinstance(store, RegionPack):
        return _mapped(store, records, faults, max_regions)
    kept, parts = [], []
    for record in records:
        try:
            # As UNITER's own databases are cut; a pack holds what its extractor has chosen.
            found = store.regions(record.id)
            parts.append(select_regions(found, max_regions=max_regions, min_regions=min(_MIN_REGIONS, max_regions)))
        except RequestError as error:
            faults.note(record.id, error)
            continue
        kept.append(record)
    store.close()
    faults.check(len(kept))
    ends = np.cumsum([len(regions) for regions in parts])
    spans = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1)
    probabilities = [regions.class_probabilities for regions in parts]
    known = [own for own in probabilities if own is not None]
    return tuple(kept), RegionFeatures(
        spans,
        _half_precision([regions.features for regions in parts]),
        np.concatenate([regions.positions for regions in parts]),
        np.concatenate(known).astype(np.float16) if len(known) == len(parts) else None,
        max_regions,
    )


def _half_precision(parts: Sequence[np.ndarray]) -> np.ndarray:
    with np.errstate(over="ignore"):
        whole = np.concatenate([part.astype(np.float16) for part in parts])
    if not np.isfinite(whole).all():
        raise ArtifactError("a feature is too large for float16, in which features are kept")
    return whole


def _mapped(
    pack: RegionPack, records: Sequence[PictureRecord], faults: FaultCounter, max_regions: int
) -> tuple[tuple[PictureRecord, ...], RegionFeatures]:
    """A pack's arrays as they lie in the file."""
    kept = [record for record in records if record.id in pack.spans]
    for record in records:
        if record.id not in pack.spans:
            faults.note(record.id, ArtifactError(f"no regions in {pack.folder}"))
    faults.check(len(kept))
    spans = np.array([pack.spans[record.id] for record in kept], dtype=np.int64)
    arrays = pack.arrays
    probabilities = arrays.get("class_probabilities")
    return tuple(kept), RegionFeatures(spans, arrays["features"], arrays["positions"], probabilities, max_regions)
