"""The calls of a client about any number of items."""

from __future__ import annotations

from array import array
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any, Unpack

from vlp_client.aio.bulk import AsyncBulk
from vlp_client.aio.bulk_plans import AsyncEmbedPlan, AsyncVqaPlan
from vlp_client.aio.pool import Items
from vlp_client.aio.sending import AsyncSender
from vlp_client.bulk_records import BulkOptions, BulkSettings, ItemResult
from vlp_client.pictures import ImageItem, ImageSource
from vlp_client.records import VqaAnswers


class AsyncBulkTasks:
    """A part of `AsyncClient`.

    Each result says what became of one item: a value, or an error; no item ends the run. A server that is full is
    waited for, ten minutes at most. Closing the iterator early ends the run.
    """

    _sender: AsyncSender

    def vqa_many(
        self,
        items: Items[tuple[ImageSource, str]],
        *,
        top_k: int = 5,
        answers: Sequence[str] | None = None,
        **options: Unpack[BulkOptions],
    ) -> AsyncGenerator[ItemResult[VqaAnswers], None]:
        """Ask a question about each of any number of pictures.

        Args:
            items: pairs of picture and question, read as they are needed.
            top_k: answers to each question.
            answers: a closed list to choose among.
            options: see `BulkOptions`; `batch` has no meaning, for a call takes one picture.

        Raises:
            ValueError: an option that cannot be.
            JournalError: while iterating: the journal cannot be gone on with.
            OSError: while iterating: the journal cannot be written.

        Example:
            >>> pairs = [(photo, "what?"), (b"no picture", "what?"), (photo, "where?")]
            >>> async for result in client.vqa_many(pairs, model="dummy"):
            ...     print(result.index, result.value.best if result.ok else result.error.kind)
            0 red
            1 invalid_image
            2 blue
        """
        settings = replace(BulkSettings(**options), batch=1)
        fields: dict[str, Any] = {"top_k": top_k} | ({} if answers is None else {"answers": list(answers)})
        plan = AsyncVqaPlan(fields, settings.model, settings.deadline_s)
        return AsyncBulk(self._sender, plan, settings).results(items)

    def embed_many(
        self,
        items: Items[str | ImageSource | ImageItem],
        *,
        dimensions: int | None = None,
        **options: Unpack[BulkOptions],
    ) -> AsyncGenerator[ItemResult[array[float]], None]:
        """Make a vector of each of any number of texts and pictures, mixed as they come; errors as `vqa_many`.

        Args:
            items: a str is a text, everything else a picture: a `Path`, bytes, a PIL image. Read as they are needed.
            dimensions: of shorter vectors, where the model allows them.
            options: see `BulkOptions`.

        Example:
            >>> results = [result async for result in client.embed_many(["a red car", photo], model="dummy-encoder")]
            >>> [len(result.unwrap()) for result in results]
            [16, 16]
        """
        settings = BulkSettings(**options)
        plan = AsyncEmbedPlan(dimensions, settings.model, settings.deadline_s)
        return AsyncBulk(self._sender, plan, settings).results(items)
