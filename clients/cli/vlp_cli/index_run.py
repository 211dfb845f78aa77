"""The work of `vlpserve index`: what is found goes to the SDK's bulk run, what becomes of it is counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vlp_client import AddedItem, Collection, ItemResult, NewItem, ServerError, VlpClientError

from vlp_cli.index_sources import FoundPicture

# A call that went well: it was one of its items that was refused.
_OF_THE_ITEM = 200


@dataclass(slots=True)
class Counts:
    """What became of the pictures so far."""

    added: int = 0
    replaced: int = 0
    present: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class BatchBounds:
    """How much is sent in a call, and how many calls are under way."""

    items: int = 32
    size_bytes: int = 8 * 1024 * 1024
    parallel: int = 4


@dataclass(frozen=True, slots=True)
class Failure:
    """A picture that was not added."""

    place: str
    item_id: str
    kind: str
    message: str


class ErrorFile:
    """Failures as JSONL. One of an earlier run goes away; the file is made with the first failure."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.unlink(missing_ok=True)

    def write(self, failure: Failure) -> None:
        """Append, so that an end at any moment loses none."""
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as lines:
            record = {"source": failure.place, "id": failure.item_id, "kind": failure.kind, "message": failure.message}
            lines.write(json.dumps(record, ensure_ascii=False) + "\n")


def index_pictures(
    collection: Collection,
    pictures: Iterator[FoundPicture],
    *,
    bounds: BatchBounds,
    errors: ErrorFile,
    again: bool,
    watch: Callable[[int], None],
) -> Counts:
    """Add pictures to a collection.

    Args:
        collection: is there.
        pictures: read as they are needed.
        bounds: of calls.
        errors: gets what fails.
        again: send also what is there with the same picture.
        watch: told how many more pictures are done with.

    Raises:
        VlpClientError: the server is gone, or refuses calls as such; what was added stays, and the next run goes on.
    """
    run = _Run(errors, watch)
    results = collection.index_many(
        run.items(pictures),
        again=again,
        parallel=bounds.parallel,
        batch=bounds.items,
        batch_bytes=bounds.size_bytes,
        ordered=False,
    )
    with closing(results):
        for result in results:
            run.take(result)
    return run.counts


class _Run:
    """One run: what was sent, and what became of it.

    Args:
        errors: gets what fails.
        watch: told how many more pictures are done with.
    """

    def __init__(self, errors: ErrorFile, watch: Callable[[int], None]) -> None:
        self.counts = Counts()
        self._errors, self._watch = errors, watch
        self._sent: dict[int, FoundPicture] = {}

    def items(self, pictures: Iterator[FoundPicture]) -> Iterator[NewItem]:
        """Those of the pictures that can be sent; the others have failed."""
        place = 0
        for one in pictures:
            if one.fault is not None:
                self._fail(one, "unreadable", one.fault)
                continue
            self._sent[place] = one
            place += 1
            image = one.url if one.content is None else one.content
            yield NewItem(image=image, id=one.item_id, metadata=one.metadata)

    def take(self, result: ItemResult[AddedItem]) -> None:
        """Count what became of an item.

        Raises:
            VlpClientError: it is not the item that is at fault.
        """
        picture = self._sent.pop(result.index)
        if result.error is not None:
            self._fail(picture, *_fault(result.error))
            return
        status = result.unwrap().status
        self.counts.added += status == "created"
        self.counts.replaced += status == "updated"
        self.counts.present += status == "present"
        self._watch(1)

    def _fail(self, picture: FoundPicture, kind: str, message: str) -> None:
        self.counts.failed += 1
        self._errors.write(Failure(picture.place, picture.item_id, kind, message))
        self._watch(1)


def _fault(error: Exception) -> tuple[str, str]:
    """Kind and message of what is an item's own fault."""
    if isinstance(error, ServerError) and (error.status == _OF_THE_ITEM or error.kind == "too_large"):
        return error.kind, error.message
    if isinstance(error, VlpClientError):
        raise error
    return "unreadable", str(error)
