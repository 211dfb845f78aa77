# Made from vlp_client/aio/bulk_index.py by clients/python/write_sync_client.py: change it there.
"""What a bulk run does to fill a collection: what is there already is left alone, a full server is waited for."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from vlp_client.bulk_records import Outcome, Prepared
from vlp_client.calls import Call, Repeat
from vlp_client.collection_records import AddedItem, read_added
from vlp_client.errors import UNKNOWN_KIND, ServerError, error_class
from vlp_client.item_digests import prepared_new_item
from vlp_client.pictures import Picture
from vlp_client.sync.pool import Pool
from vlp_client.sync.sending import Sender

_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 10.0


class IndexPlan:
    """An item of a collection of each.

    Args:
        name: of the collection.
        again: whether what is there already with the same picture is sent, too.
        deadline_s: of every call.
    """

    def __init__(self, name: str, again: bool, deadline_s: float | None) -> None:
        self._name, self._again, self._deadline_s = name, again, deadline_s
        self.prepare = prepared_new_item
        self.counted: str | None = "items"

    @property
    def work(self) -> Mapping[str, Any]:
        """See `Plan`."""
        return {"verb": "index", "collection": self._name}

    def send(self, sender: Sender, pool: Pool[Any], group: Sequence[Prepared]) -> list[Outcome[AddedItem]]:
        """See `Plan`."""
        outcomes: dict[int, Outcome[AddedItem]] = {}
        known = {} if self._again else self._known(sender, group)
        waiting = []
        for place, one in enumerate(group):
            item_id = one.payload["id"]
            if item_id in known and _is_same(one, known[item_id]):
                outcomes[place] = Outcome(AddedItem(item_id, "present"), known=True)
            else:
                waiting.append(place)
        waited_s, wait_s = 0.0, _FIRST_WAIT_S
        while waiting:
            results, model = self._add(sender, [group[place] for place in waiting])
            later = []
            for place, result in zip(waiting, results, strict=True):
                if result.status != "failed":
                    outcomes[place] = Outcome(result, model=model)
                elif result.retry_after_s is not None and waited_s < sender.patience_s:
                    later.append(place)
                elif result.kind == "too_large" and len(waiting) > 1:
                    # Pictures behind URLs count together; alone it may well be taken.
                    (alone,), _ = self._add(sender, [group[place]])
                    outcomes[place] = _outcome(alone, model)
                else:
                    outcomes[place] = _outcome(result, model)
            waiting = later
            if waiting:
                pool.sleep(wait_s)
                waited_s, wait_s = waited_s + wait_s, min(2 * wait_s, _LONGEST_WAIT_S)
        return [outcomes[place] for place in range(len(group))]

    def to_json(self, value: AddedItem) -> Any:
        """See `Plan`."""
        return value.id

    def from_json(self, kept: Any) -> AddedItem:
        """See `Plan`."""
        return AddedItem(kept, "present")

    def _known(self, sender: Sender, group: Sequence[Prepared]) -> Mapping[str, str | None]:
        call = Call(
            verb="lookup_items",
            read=lambda reply: dict(reply.body["known"]),
            fields={"ids": [one.payload["id"] for one in group]},
            name=self._name,
        )
        return sender.call(call)

    def _add(self, sender: Sender, group: Sequence[Prepared]) -> tuple[Sequence[AddedItem], str]:
        call = Call(
            verb="add_items",
            read=read_added,
            fields={"items": [one.payload for one in group]},
            name=self._name,
            deadline_s=self._deadline_s,
            repeat=Repeat.KEYED,
            idempotency_key=uuid.uuid4().hex,
        )
        added = sender.call(call)
        return added.results, added.model


def _is_same(one: Prepared, known_sha256: str | None) -> bool:
    """Whether what is there under the id is this. What a URL names is taken for the same."""
    picture = one.payload.get("image")
    if not isinstance(picture, Picture):
        return False  # there may be another vector by now
    if picture.url is not None:
        return True
    return hashlib.sha256(picture.content).hexdigest() == known_sha256


def _outcome(result: AddedItem, model: str) -> Outcome[AddedItem]:
    return Outcome(result, model=model) if result.status != "failed" else Outcome(error=_error(result))


def _error(result: AddedItem) -> ServerError:
    kind = result.kind or UNKNOWN_KIND
    message, retry_after_s = result.message or kind, result.retry_after_s
    return error_class(kind)(message, kind=kind, status=200, retry_after_s=retry_after_s)
