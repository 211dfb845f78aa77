"""The work of `vlpserve index`: batches of bounded size, several under way, what is there already left alone."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from vlp_client import CapacityError, Collection, NewItem, ServerError

from vlp_cli.index_sources import FoundPicture

_MAX_WAIT_S = 600.0
_FIRST_WAIT_S = 0.2
_LONGEST_WAIT_S = 10.0


@dataclass(slots=True)
class Counts:
    """What became of the pictures so far."""

    added: int = 0
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
    """Failures as JSONL; the file is made with the first of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made = False

    def write(self, failures: Sequence[Failure]) -> None:
        """Append, so that an end at any moment loses none."""
        if not failures:
            return
        with self.path.open("a" if self._made else "w", encoding="utf-8") as lines:
            for one in failures:
                record = {"source": one.place, "id": one.item_id, "kind": one.kind, "message": one.message}
                lines.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._made = True


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
    counts = Counts()
    with ThreadPoolExecutor(bounds.parallel) as threads:
        running: set[Future[tuple[Counts, list[Failure]]]] = set()

        def collect(done: set[Future[tuple[Counts, list[Failure]]]]) -> None:
            for future in done:
                part, failures = future.result()
                errors.write(failures)
                counts.added += part.added
                counts.present += part.present
                counts.failed += part.failed
                watch(part.added + part.present + part.failed)

        try:
            for batch in _batches(pictures, bounds):
                if len(running) >= bounds.parallel:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    collect(done)
                running.add(threads.submit(_add, collection, batch, again))
            collect(wait(running).done)
        except BaseException:
            for future in running:
                future.cancel()
            raise
    return counts


def _batches(pictures: Iterator[FoundPicture], bounds: BatchBounds) -> Iterator[list[FoundPicture]]:
    batch: list[FoundPicture] = []
    size = 0
    for picture in pictures:
        length = len(picture.content or b"")
        if batch and (len(batch) >= bounds.items or size + length > bounds.size_bytes):
            yield batch
            batch, size = [], 0
        batch.append(picture)
        size += length
    if batch:
        yield batch


def _add(collection: Collection, batch: Sequence[FoundPicture], again: bool) -> tuple[Counts, list[Failure]]:
    failures = [Failure(one.place, one.item_id, "unreadable", one.fault) for one in batch if one.fault is not None]
    sound = [one for one in batch if one.fault is None]
    wanted = sound if again else _missing(collection, sound)
    present = len(sound) - len(wanted)
    added = 0
    waited_s, wait_s = 0.0, _FIRST_WAIT_S
    while wanted:
        sent = _send(collection, wanted, is_last=waited_s > _MAX_WAIT_S)
        added += sent.added
        failures += sent.failures
        wanted = list(sent.held_up)
        if wanted:
            wait_s = max(wait_s, sent.retry_after_s)
            time.sleep(wait_s)
            waited_s, wait_s = waited_s + wait_s, min(2 * wait_s, _LONGEST_WAIT_S)
    return Counts(added, present, len(failures)), failures


@dataclass(frozen=True, slots=True)
class _Sent:
    """What became of one call: pictures that are to be sent again after a while are held up."""

    added: int = 0
    failures: Sequence[Failure] = ()
    held_up: Sequence[FoundPicture] = ()
    retry_after_s: float = 0.0


def _send(collection: Collection, wanted: Sequence[FoundPicture], *, is_last: bool) -> _Sent:
    """One call; with `is_last` nothing is held up any more."""
    try:
        results = collection.add([_new_item(one) for one in wanted]).results
    except CapacityError as error:
        if is_last:
            raise
        return _Sent(held_up=wanted, retry_after_s=error.retry_after_s or 0.0)
    except ServerError as error:
        if error.kind != "too_large" or len(wanted) > 1:
            raise
        return _Sent(failures=[Failure(wanted[0].place, wanted[0].item_id, error.kind, error.message)])
    held_up, failures = [], []
    for one, result in zip(wanted, results, strict=True):
        if result.status == "failed" and result.retry_after_s is not None and not is_last:
            held_up.append(one)
        elif result.status == "failed":
            failures.append(Failure(one.place, one.item_id, result.kind or "unknown", result.message or ""))
    return _Sent(len(results) - len(held_up) - len(failures), failures, held_up)


def _missing(collection: Collection, pictures: Sequence[FoundPicture]) -> list[FoundPicture]:
    """Those that are not there yet, or with another picture. What a URL names is taken for the same."""
    if not pictures:
        return []
    known = _patiently(lambda: collection.lookup([one.item_id for one in pictures]))
    return [one for one in pictures if one.item_id not in known or known[one.item_id] != _digest(one, known)]


def _digest(picture: FoundPicture, known: dict[str, str | None]) -> str | None:
    if picture.content is None:
        return known[picture.item_id]
    return hashlib.sha256(picture.content).hexdigest()


def _patiently(call: Callable[[], dict[str, str | None]]) -> dict[str, str | None]:
    until, wait_s = time.monotonic() + _MAX_WAIT_S, _FIRST_WAIT_S
    while True:
        try:
            return call()
        except CapacityError as error:
            if time.monotonic() > until:
                raise
            time.sleep(max(wait_s, error.retry_after_s or 0.0))
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def _new_item(picture: FoundPicture) -> NewItem:
    image = picture.url if picture.content is None else picture.content
    return NewItem(image=image, id=picture.item_id, metadata=picture.metadata)
