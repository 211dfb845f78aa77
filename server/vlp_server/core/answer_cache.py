"""Finished answers, kept by what was asked of which model about which content."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from vlp_server.core.metrics import Metrics
from vlp_server.core.settings import CacheSettings
from vlp_server.core.shared_work import Key, SharedWork

R = TypeVar("R")
_ANSWER_BYTES = 120


class AnswerCache(SharedWork[Any]):
    """Answers of all tasks, by (digests of the pictures, digest of the model's manifest, query)."""

    def __init__(self, cache: CacheSettings, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(
            "answer", cache.answer_entries, cache.answer_bytes, _answer_bytes, metrics=metrics, clock=clock
        )

    @staticmethod
    def key(digests: Sequence[str], model_digest: str, query: object) -> Key:
        """What an answer depends on."""
        return tuple(digests), model_digest, query

    def forget_model(self, model_digest: str) -> int:
        """Drop every kept answer of a model that can no longer be trusted; says how many."""
        return self.forget(lambda key: key[1] == model_digest)


def filled(found: Sequence[R | None], computed: Iterable[R]) -> list[R]:
    """Kept answers, with those that were computed, in their order, in the place of those that were not kept."""
    rest = iter(computed)
    return [next(rest) if result is None else result for result in found]


def _answer_bytes(key: Key, result: object) -> int:
    """Memory of a cached answer with its key, roughly; strings count four bytes a character at worst."""
    texts = [*_texts_of(key[-1]), *_texts_of(result)]
    return sum(_ANSWER_BYTES + 4 * len(text) for text in texts)


def _texts_of(value: object) -> Iterator[str]:
    """Every string in a record of records."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _texts_of(part)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _texts_of(getattr(value, field.name))
    else:
        yield ""
