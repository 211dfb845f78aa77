"""Collections as rows of SQLite: reading and writing them, and their specifications as JSON."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from dataclasses import asdict, dataclass, replace

from vlp_spec.errors import (
    CollectionExistsError,
    CollectionNotFoundError,
    EncoderMismatchError,
    InvalidArgumentError,
    NoPicturesError,
)

from vlp_server.index.names import check_collection_name
from vlp_server.index.settings import IndexSettings
from vlp_server.index.store import METRICS, CollectionSpec

MAX_DIMENSION = 32_768
MAX_TEXT = 256


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """A collection as it is in the database.

    Attributes:
        id: of the row.
        uid: random; a collection that is dropped and made again has another.
        epoch: goes up by one with every re-embedding.
        spec: as it is now.
        created_at: seconds since the epoch.
        staged_spec: what a re-embedding under way leads to.
    """

    id: int
    uid: str
    epoch: int
    spec: CollectionSpec
    created_at: float
    staged_spec: CollectionSpec | None = None

    @property
    def parity(self) -> int:
        """The last bit of the keys of its vectors."""
        return self.epoch % 2


def check_spec(spec: CollectionSpec) -> CollectionSpec:
    """The specification, when a collection can be made of it.

    Raises:
        InvalidArgumentError: a bad name, model, digest, dimension or metric; code bytes that do not divide the
            dimension.
    """
    check_collection_name(spec.name)
    for name, text in (("model", spec.model), ("encoder_digest", spec.encoder_digest)):
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_TEXT or not text.isprintable():
            raise InvalidArgumentError(f"{name}: expected 1 to {MAX_TEXT} printable characters", field=name)
    dimension = spec.dimension
    if isinstance(dimension, bool) or not isinstance(dimension, int) or not 1 <= dimension <= MAX_DIMENSION:
        raise InvalidArgumentError(
            f"dimension: got {dimension!r}, expected a whole number from 1 to {MAX_DIMENSION}", field="dimension"
        )
    if spec.metric not in METRICS:
        raise InvalidArgumentError(f"metric: {spec.metric!r} is none of {', '.join(METRICS)}", field="metric")
    if spec.index.pq_bytes and dimension % spec.index.pq_bytes:
        raise InvalidArgumentError(
            f"index.pq_bytes: {spec.index.pq_bytes} does not divide the dimension {dimension}", field="index.pq_bytes"
        )
    return spec


def check_same(present: CollectionSpec, wanted: CollectionSpec) -> None:
    """Nothing, when a collection that is there is the one that is wanted.

    Raises:
        EncoderMismatchError: its vectors come from another encoder.
        CollectionExistsError: something else differs.
    """
    check_encoder(present, wanted.encoder_digest)
    # The same encoder may be served under another name or version by now.
    wanted = replace(wanted, model=present.model)
    if present != wanted:
        differing = [name for name, value in asdict(present).items() if asdict(wanted)[name] != value]
        raise CollectionExistsError(f"collection {present.name!r} is there with another {', '.join(differing)}")


def check_encoder(spec: CollectionSpec, encoder_digest: str | None) -> None:
    """Nothing, when vectors of this encoder belong into the collection (or none is named).

    Raises:
        EncoderMismatchError: they do not.
    """
    if encoder_digest is not None and encoder_digest != spec.encoder_digest:
        raise EncoderMismatchError(
            f"collection {spec.name!r} holds vectors of the encoder {spec.encoder_digest[:12]} (model {spec.model!r}); "
            f"those of the encoder {encoder_digest[:12]} cannot be compared with them; embed the collection anew"
        )


def check_keeps_pictures(spec: CollectionSpec) -> None:
    """Nothing, when the collection keeps pictures.

    Raises:
        NoPicturesError: it does not.
    """
    if not spec.store_images:
        raise NoPicturesError(f"collection {spec.name!r} does not keep pictures (store_images is false)")


def spec_to_json(spec: CollectionSpec) -> str:
    """The specification as JSON text."""
    return json.dumps(asdict(spec), separators=(",", ":"))


def spec_from_json(text: str) -> CollectionSpec:
    """What `spec_to_json` wrote."""
    members = json.loads(text)
    return CollectionSpec(**{**members, "index": IndexSettings(**members["index"])})


_COLUMNS = "id, uid, epoch, spec, created_at, staged_spec"


def insert_collection(connection: sqlite3.Connection, spec: CollectionSpec) -> CollectionRow:
    """Add the collection, or return the same one that is there.

    Raises:
        EncoderMismatchError, CollectionExistsError: one of this name is there and is not the same.
    """
    present = find_collection(connection, spec.name)
    if present is not None:
        check_same(present.spec, spec)
        return present
    connection.execute(
        "INSERT INTO collections (name, uid, spec, created_at) VALUES (?, ?, ?, ?)",
        (spec.name, uuid.uuid4().hex, spec_to_json(spec), time.time()),
    )
    return require_collection(connection, spec.name)


def find_collection(connection: sqlite3.Connection, name: str) -> CollectionRow | None:
    """The collection, if there is one of this name."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM collections WHERE name = ?", (name,)).fetchone()
    return None if row is None else _row(row)


def require_collection(connection: sqlite3.Connection, name: str, uid: str | None = None) -> CollectionRow:
    """The collection; with `uid`, the very one and not another that took its name.

    Raises:
        CollectionNotFoundError: there is none.
    """
    row = find_collection(connection, name)
    if row is None or (uid is not None and row.uid != uid):
        raise not_found(name)
    return row


def all_collections(connection: sqlite3.Connection) -> list[CollectionRow]:
    """Every collection, by name."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM collections WHERE name IS NOT NULL ORDER BY name")
    return [_row(row) for row in rows]


def dropped_collections(connection: sqlite3.Connection) -> list[int]:
    """Rows of collections that were dropped and still have items to be removed."""
    return [int(row[0]) for row in connection.execute("SELECT id FROM collections WHERE name IS NULL")]


def write_spec(connection: sqlite3.Connection, row: CollectionRow) -> None:
    """Keep the row's specification, its staged one, and its epoch."""
    staged = None if row.staged_spec is None else spec_to_json(row.staged_spec)
    connection.execute(
        "UPDATE collections SET spec = ?, staged_spec = ?, epoch = ? WHERE id = ?",
        (spec_to_json(row.spec), staged, row.epoch, row.id),
    )


def not_found(name: str) -> CollectionNotFoundError:
    """The error for a name that no collection has."""
    shown = name if len(name) <= 128 else name[:125] + "..."
    return CollectionNotFoundError(f"collection {shown!r}: there is none of this name")


def reembedded(row: CollectionRow) -> CollectionRow:
    """The row after its staged specification came into force."""
    if row.staged_spec is None:
        raise ValueError("no re-embedding is under way")
    return replace(row, spec=row.staged_spec, staged_spec=None, epoch=row.epoch + 1)


def _row(values: tuple[int, str, int, str, float, str | None]) -> CollectionRow:
    identity, uid, epoch, spec, created_at, staged = values
    staged_spec = None if staged is None else spec_from_json(staged)
    return CollectionRow(identity, uid, epoch, spec_from_json(spec), created_at, staged_spec)
