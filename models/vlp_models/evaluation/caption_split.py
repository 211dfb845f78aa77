"""Have every picture of a split captioned."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from vlp_spec.errors import ArtifactError, InferenceError, RequestError

from vlp_models.data.faults import FaultCounter
from vlp_models.data.records import PictureRecord
from vlp_models.data.sources import RawPicture, open_source


class Captioner(Protocol):
    """What writes captions."""

    @property
    def name(self) -> str:
        """For reports: name@version."""
        ...

    def caption(self, images: Sequence[bytes]) -> Sequence[str]:
        """One caption a picture.

        Args:
            images: encoded, such as the bytes of a JPEG file.

        Raises:
            RequestError: one of them cannot be read.
        """
        ...


@dataclass(frozen=True, slots=True)
class CaptionedPicture:
    """A picture's record with what was said of it."""

    record: PictureRecord
    caption: str


def caption_split(
    captioner: Captioner, root: Path, split: str, *, limit: int = 0, batch_size: int = 64, watch: Callable[[int], None]
) -> list[CaptionedPicture]:
    """Caption the pictures that have captions to compare with, in the split's order.

    Args:
        captioner: is asked.
        root: of the data set.
        split: whose pictures are shown.
        limit: pictures at most; 0 shows all.
        batch_size: pictures a call.
        watch: told how many are done.

    Raises:
        ArtifactError: the split has no captions, or too many faulty records.
        InferenceError: the captioner returned more captions than pictures, or fewer.
    """
    faults = FaultCounter(split)
    pictures: Iterator[RawPicture] = (raw for raw in open_source(root, split).read(faults) if raw.record.captions)
    if limit:
        pictures = itertools.islice(pictures, limit)
    done: list[CaptionedPicture] = []
    while batch := list(itertools.islice(pictures, batch_size)):
        done += _caption(captioner, batch, faults)
        watch(len(done))
    if not done and not faults.reasons:
        raise ArtifactError(f"split {split!r}: no captions to compare with")
    faults.check(len(done))
    return done


def _caption(captioner: Captioner, batch: Sequence[RawPicture], faults: FaultCounter) -> list[CaptionedPicture]:
    """All of a batch; where one cannot be read, the others."""
    try:
        captions = captioner.caption([raw.image for raw in batch])
    except RequestError as error:
        if len(batch) == 1:
            faults.note(batch[0].place, error)
            return []
        return [one for raw in batch for one in _caption(captioner, [raw], faults)]
    if len(captions) != len(batch):
        raise InferenceError(f"{captioner.name}: got {len(captions)} captions, expected {len(batch)}")
    return [CaptionedPicture(raw.record, caption) for raw, caption in zip(batch, captions, strict=True)]


def write_captions(path: Path, pictures: Sequence[CaptionedPicture]) -> None:
    """Write one JSON line a picture: id, caption."""
    with path.open("w", encoding="utf-8") as file:
        for one in pictures:
            file.write(json.dumps({"id": one.record.id, "caption": one.caption}, ensure_ascii=False) + "\n")
