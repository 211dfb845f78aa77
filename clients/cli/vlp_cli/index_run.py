"""The work of `vlpserve index`: batches of bounded size, several under way, what is there already left alone."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
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

    def write(self, failures: Sequence[Failure]) -> None:
        """Append, so that an end at any moment loses none."""
        if not failures:
            return
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as lines:
            for one in failures:
                record = {"source": one.place, "id": one.item_id, "kind": one.kind, "message": one.message}
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
    counts = Counts()
    leaving = threading.Event()
    running: set[Future[tuple[Counts, list[Failure]]]] = set()

    def collect(done: set[Future[tuple[Counts, list[Failure]]]]) -> None:
        for future in done:
            part, failures = future.result()
            errors.write(failures)
            counts.added += part.added
            counts.replaced += part.replaced
            counts.present += part.present
            counts.failed += part.failed
            watch(part.added + part.replaced + part.present + part.failed)

    with ThreadPoolExecutor(bounds.parallel) as threads:
        try:
            for batch in _batches(pictures, bounds):
                if len(running) >= bounds.parallel:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    collect(done)
                running.add(threads.submit(_Addition(collection, leaving).run, batch, again))
            collect(wait(running).done)
        except BaseException:
            # Nobody goes on waiting; what was done is told.
            leaving.set()
            threads.shutdown(wait=True, cancel_futures=True)
            for future in running:
                if not future.cancelled() and future.exception() is None:
                    errors.write(future.result()[1])
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


class _Addition:
    """Adds one batch.

    Args:
        collection: is there.
        leaving: set when the run ends before its time.
    """

    def __init__(self, collection: Collection, leaving: threading.Event) -> None:
        self._collection, self._leaving = collection, leaving
        self._waited_s, self._wait_s = 0.0, _FIRST_WAIT_S
        self._counts = Counts()
        self._failures: list[Failure] = []

    def run(self, batch: Sequence[FoundPicture], again: bool) -> tuple[Counts, list[Failure]]:
        """Send what is to be sent, and wait for a server that is full."""
        for one in batch:
            if one.fault is not None:
                self._fail(one, "unreadable", one.fault)
        sound = [one for one in batch if one.fault is None]
        wanted = sound if again else self._missing(sound)
        self._counts.present = len(sound) - len(wanted)
        groups = deque([wanted] if wanted else [])
        while groups:
            self._send(groups.popleft(), groups)
        self._counts.failed = len(self._failures)
        return self._counts, self._failures

    def _send(self, group: Sequence[FoundPicture], groups: deque[Sequence[FoundPicture]]) -> None:
        """One call; what has to be sent again, later or in smaller groups, goes to `groups`."""
        try:
            results = self._collection.add([_new_item(one) for one in group]).results
        except CapacityError as error:
            self._wait(error)
            groups.append(group)
            return
        except ServerError as error:
            if error.kind != "too_large":
                raise
            self._split(group, error.message, groups)
            return
        later: list[FoundPicture] = []
        for one, result in zip(group, results, strict=True):
            if result.status == "created":
                self._counts.added += 1
            elif result.status == "updated":
                self._counts.replaced += 1
            elif result.retry_after_s is not None and self._waited_s <= _MAX_WAIT_S:
                later.append(one)
            elif result.kind == "too_large" and len(group) > 1:
                # Pictures behind URLs count together; alone it may well be taken.
                groups.append([one])
            else:
                self._fail(one, result.kind or "unknown", result.message or "")
        if later:
            self._wait(None)
            groups.append(later)

    def _split(self, group: Sequence[FoundPicture], message: str, groups: deque[Sequence[FoundPicture]]) -> None:
        if len(group) == 1:
            self._fail(group[0], "too_large", message)
            return
        middle = len(group) // 2
        groups += [group[:middle], group[middle:]]

    def _fail(self, picture: FoundPicture, kind: str, message: str) -> None:
        self._failures.append(Failure(picture.place, picture.item_id, kind, message))

    def _wait(self, error: CapacityError | None) -> None:
        """Wait for a server that is full, longer every time.

        Raises:
            CapacityError: it has been full for too long, or the run ends.
        """
        wait_s = max(self._wait_s, (error.retry_after_s if error is not None else None) or 0.0)
        ends = self._leaving.wait(wait_s)
        if error is not None and (ends or self._waited_s > _MAX_WAIT_S):
            raise error
        self._waited_s, self._wait_s = self._waited_s + wait_s, min(2 * self._wait_s, _LONGEST_WAIT_S)

    def _missing(self, pictures: Sequence[FoundPicture]) -> Sequence[FoundPicture]:
        """Those that are not there yet, or with another picture. What a URL names is taken for the same."""
        while pictures:
            try:
                known = self._collection.lookup([one.item_id for one in pictures])
            except CapacityError as error:
                self._wait(error)
                continue
            return [one for one in pictures if one.item_id not in known or known[one.item_id] != _digest(one, known)]
        return pictures


def _digest(picture: FoundPicture, known: Mapping[str, str | None]) -> str | None:
    if picture.content is None:
        return known[picture.item_id]
    return hashlib.sha256(picture.content).hexdigest()


def _new_item(picture: FoundPicture) -> NewItem:
    image = picture.url if picture.content is None else picture.content
    return NewItem(image=image, id=picture.item_id, metadata=picture.metadata)
