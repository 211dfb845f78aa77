"""A tsv file of regions with random access: where each picture's line begins is found once, and can be kept."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlp_pipeline.region_tsv import parse_tsv_line, tsv_lines, tsv_picture_id
from vlp_pipeline.regions import RegionLimits, Regions, invalid_regions
from vlp_spec.errors import ArtifactError, RequestError

from vlp_models.data.region_faults import STORED_REGION_LIMITS, named_faults, no_regions

_INDEX_VERSION = 1
Spans = Mapping[str, tuple[int, int]]
"""Picture id -> where its line begins, and its bytes without the line end."""


@dataclass(frozen=True)
class RegionTsv:
    """An indexed file; lines are read when they are asked for.

    Attributes:
        path: the file; it must not change.
        limits: of each picture's regions; features have the width of the first picture's.
        spans: the index.
    """

    path: Path
    limits: RegionLimits
    spans: Spans

    @classmethod
    def open(
        cls, path: Path, limits: RegionLimits = STORED_REGION_LIMITS, *, index_path: Path | None = None
    ) -> RegionTsv:
        """Index a file, which reads it once from start to end.

        Args:
            path: of the forms of `vlp_pipeline.region_tsv`.
            limits: of each picture's regions.
            index_path: where the index is kept; one that is there is used if the file is still the same.

        Raises:
            ArtifactError: the file cannot be read, has no line, a broken one, or a picture twice; or the regions of
                its first picture cannot be used.
        """
        try:
            state = path.stat()
            identity = {"version": _INDEX_VERSION, "size_bytes": state.st_size, "mtime_ns": state.st_mtime_ns}
            spans = None if index_path is None else _kept_spans(index_path, identity, limits)
            if spans is None:
                spans = _find_spans(path, limits)
                if index_path is not None:
                    _keep_spans(index_path, identity, spans)
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read or indexed ({error.strerror or error})") from error
        opened = cls(path, limits, spans)
        try:
            # A line that was cut between two numbers looks whole unless the width is known.
            width = opened.regions(next(iter(spans))).features.shape[1]
        except RequestError as error:
            raise ArtifactError(str(error), detail=error.detail) from error
        return replace(opened, limits=replace(limits, feature_width=width))

    def ids(self) -> Sequence[str]:
        """The pictures in the file's order."""
        return list(self.spans)

    def regions(self, picture_id: str) -> Regions:
        """Read a picture's line; see `RegionFeatureStore`."""
        if picture_id not in self.spans:
            raise no_regions(picture_id, self.path)
        start, length = self.spans[picture_id]
        with named_faults(f"{self.path.name}, picture {picture_id!r:.80}"):
            try:
                with self.path.open("rb") as file:
                    file.seek(start)
                    text = file.read(length)
            except OSError as error:
                raise invalid_regions(f"the file cannot be read ({error.strerror})") from error
            found = parse_tsv_line(text, self.limits)
            if found.picture_id != picture_id:
                raise invalid_regions("another picture's line; the file has changed since it was indexed")
            return found.regions

    def close(self) -> None:
        """Nothing is held open."""


def _find_spans(path: Path, limits: RegionLimits) -> Spans:
    spans: dict[str, tuple[int, int]] = {}
    with path.open("rb") as file:
        try:
            for line in tsv_lines(file, limits):
                with named_faults(f"line {line.number}"):
                    picture_id = tsv_picture_id(line.text)
                    if picture_id in spans:
                        raise invalid_regions(f"picture {picture_id!r:.80} for the second time")
                spans[picture_id] = line.offset, len(line.text)
        except RequestError as error:
            raise ArtifactError(f"{path}: {error}", detail=error.detail) from error
    if not spans:
        raise ArtifactError(f"{path}: no line with regions in it")
    return spans


def _keep_spans(index_path: Path, identity: Mapping[str, int], spans: Spans) -> None:
    lines = [[picture_id, start, length] for picture_id, (start, length) in spans.items()]
    temporary = index_path.with_name(f".{index_path.name}-{os.getpid()}")
    temporary.write_text(json.dumps({**identity, "lines": lines}), encoding="utf-8")
    temporary.replace(index_path)


def _kept_spans(index_path: Path, identity: Mapping[str, int], limits: RegionLimits) -> Spans | None:
    """The index that was kept; None where there is none, it is of another file, or it is no index."""
    try:
        kept: Any = json.loads(index_path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(kept, dict) or {name: kept.get(name) for name in identity} != identity:
        return None
    lines = kept.get("lines")
    if not isinstance(lines, list) or not lines:
        return None
    for line in lines:
        if not isinstance(line, list) or [type(item) for item in line] != [str, int, int]:
            return None
        _, start, length = line
        if start < 0 or not 0 < length <= 2 * limits.max_bytes or start + length > identity["size_bytes"]:
            return None
    return {picture_id: (start, length) for picture_id, start, length in lines}
