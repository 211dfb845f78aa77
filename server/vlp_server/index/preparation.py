"""Items of an upsert: each is checked alone, so that a bad one fails and the others go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vlp_spec.errors import InvalidArgumentError, TooLargeError, VlpError

from vlp_server.index.item_rows import PreparedItem
from vlp_server.index.metadata import encode_metadata
from vlp_server.index.names import check_item_id
from vlp_server.index.pictures import digest_of
from vlp_server.index.settings import StoreSettings
from vlp_server.index.store import CollectionSpec, ItemResult, NewItem
from vlp_server.index.vectors import prepare_vector


@dataclass(frozen=True, slots=True)
class Preparation:
    """What an upsert is left with after the checks.

    Attributes:
        items: those that passed, and their places in the call.
        places: of `items`.
        failed: place -> result, for the others.
        pictures: digest -> file, to be kept.
    """

    items: list[PreparedItem]
    places: list[int]
    failed: dict[int, ItemResult]
    pictures: dict[str, bytes]

    @property
    def size_bytes(self) -> int:
        """About how much the database writes for it."""
        return sum(item.vector.nbytes + len(item.metadata) + 256 for item in self.items)

    def results(self, created: Sequence[bool]) -> list[ItemResult]:
        """The results of the whole call, in its order; `created` belongs to `items`."""
        results = dict(self.failed)
        for place, item, is_new in zip(self.places, self.items, created, strict=True):
            results[place] = ItemResult(item.item_id, "created" if is_new else "updated")
        return [results[place] for place in sorted(results)]


def prepare_items(items: Sequence[NewItem], spec: CollectionSpec, settings: StoreSettings) -> Preparation:
    """Check items one by one.

    Raises:
        TooLargeError: more items than a call may have.
    """
    if len(items) > settings.max_items_per_call:
        raise TooLargeError(f"items: got {len(items)}, at most {settings.max_items_per_call} in one call")
    ready = Preparation([], [], {}, {})
    seen: set[str] = set()
    for place, item in enumerate(items):
        try:
            prepared = _prepare(item, spec, settings)
            if prepared.item_id in seen:
                raise InvalidArgumentError(
                    "id: an item before this one in the same call has it too; that one was kept", field="id"
                )
        except VlpError as error:
            ready.failed[place] = ItemResult(item.id, "failed", error)
            continue
        seen.add(prepared.item_id)
        ready.items.append(prepared)
        ready.places.append(place)
        if prepared.picture_stored and item.picture is not None and prepared.picture_digest is not None:
            ready.pictures[prepared.picture_digest] = item.picture
    return ready


def _prepare(item: NewItem, spec: CollectionSpec, settings: StoreSettings) -> PreparedItem:
    digest = _digest(item, settings)
    return PreparedItem(
        item_id=check_item_id(item.id),
        vector=prepare_vector(item.vector, spec.dimension, spec.metric),
        metadata=encode_metadata(item.metadata, settings.max_metadata_bytes),
        picture_digest=digest,
        picture_stored=spec.store_images and item.picture is not None,
    )


def _digest(item: NewItem, settings: StoreSettings) -> str | None:
    given = item.picture_digest
    if given is not None and (len(given) != 64 or set(given) - set("0123456789abcdef")):
        raise InvalidArgumentError("picture_digest: expected a sha256 in hex", field="picture_digest")
    if item.picture is None:
        return given
    if len(item.picture) > settings.max_picture_bytes:
        raise TooLargeError(f"picture: {len(item.picture)} bytes, at most {settings.max_picture_bytes} are allowed")
    digest = digest_of(item.picture)
    if given is not None and given != digest:
        raise InvalidArgumentError(
            f"picture_digest: {given[:12]}... is not that of the picture, {digest[:12]}...", field="picture_digest"
        )
    return digest
