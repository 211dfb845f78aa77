"""Built indexes on disk: written beside, synced, renamed. A note says which state of the database each stands for.

indexes/<uid and epoch of the collection>/<number>/note.json, index.faiss, ids.npy
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import uuid
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from vlp_spec.files import sync_path

from vlp_server.index.faiss_library import load_faiss
from vlp_server.index.scoring import Ids
from vlp_server.index.settings import IndexKind

logger = logging.getLogger(__name__)
FORMAT = 1
_NOTE = "note.json"
_INDEX = "index.faiss"
_IDS = "ids.npy"
_TEMPORARY = "new-"


@dataclass(frozen=True, slots=True)
class Origin:
    """Which vectors an index was built from, and how. A saved index is of use only where all of it is equal.

    Attributes:
        incarnation: of the database; a restored one has another.
        uid: of the collection.
        epoch: of the collection; a re-embedding changes it.
        dimension: of a vector.
        metric: of the collection.
        settings: of its index, as plain values.
    """

    incarnation: str
    uid: str
    epoch: int
    dimension: int
    metric: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A saved index.

    Attributes:
        kind: of the index.
        ids: (n,) ascending, in the order of the index.
        index: FAISS index.
        trained_on: see `BuiltIndex`.
        through: every row with a greater id is missing in it.
    """

    kind: IndexKind
    ids: Ids
    index: Any
    trained_on: int
    through: int


class SnapshotFolder:
    """The saved indexes of one collection; the latest counts.

    Args:
        folder: of this collection and epoch alone.
        origin: what an index must come from.
    """

    def __init__(self, folder: Path, origin: Origin) -> None:
        self._folder = folder
        self._origin = origin

    def save(self, snapshot: Snapshot) -> None:
        """Write it, and remove older ones.

        Raises:
            OSError: it could not be written; nothing is left of it.
            RuntimeError: FAISS could not write it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        beside = self._folder / f"{_TEMPORARY}{uuid.uuid4().hex}"
        beside.mkdir()
        try:
            load_faiss().write_index(snapshot.index, str(beside / _INDEX))
            with (beside / _IDS).open("wb") as stream:
                np.save(stream, snapshot.ids)
            note = {
                "format": FORMAT,
                "origin": asdict(self._origin),
                "kind": snapshot.kind,
                "trained_on": snapshot.trained_on,
                "through": snapshot.through,
                "crc32": {name: _checksum(beside / name) for name in (_INDEX, _IDS)},
            }
            (beside / _NOTE).write_text(json.dumps(note, indent=1))
            for path in beside.iterdir():
                sync_path(path)
            sync_path(beside)
            older = self._numbered()
            final = self._folder / str(older[-1] + 1 if older else 1)
            beside.rename(final)
            sync_path(self._folder)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        self._keep_only(final.name)

    def load(self) -> Snapshot | None:
        """The latest one, when it is whole and fits the origin; None otherwise."""
        numbers = self._numbered()
        if not numbers:
            return None
        folder = self._folder / str(numbers[-1])
        try:
            return self._read(folder)
        except Exception as error:  # whatever is wrong with a derived file, it is built anew
            logger.warning("saved index %s is of no use, it is built anew: %s", folder, error)
            return None

    def remove(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read(self, folder: Path) -> Snapshot:
        note = json.loads((folder / _NOTE).read_text())
        if note["format"] != FORMAT or note["origin"] != asdict(self._origin):
            raise ValueError("it stands for another state of the database")
        for name, expected in note["crc32"].items():
            if _checksum(folder / name) != expected:
                raise ValueError(f"{name} is damaged")
        ids = np.load(folder / _IDS, allow_pickle=False)
        index = load_faiss().read_index(str(folder / _INDEX))
        if index.ntotal != len(ids) or index.d != self._origin.dimension:
            raise ValueError("its parts do not fit each other")
        return Snapshot(note["kind"], ids, index, int(note["trained_on"]), int(note["through"]))

    def _numbered(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return sorted(int(path.name) for path in self._folder.iterdir() if path.name.isdigit())

    def _keep_only(self, name: str) -> None:
        for path in self._folder.iterdir():
            if path.name != name:
                shutil.rmtree(path, ignore_errors=True)


def _checksum(path: Path) -> int:
    value = 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 22):
            value = zlib.crc32(block, value)
    return value


def remove_strangers(root: Path, uids: set[str]) -> None:
    """Remove the folders of collections that are no more."""
    if not root.is_dir():
        return
    for path in root.iterdir():
        if path.name not in uids:
            with contextlib.suppress(OSError):
                shutil.rmtree(path)
