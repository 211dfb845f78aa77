"""A deployment for evaluations: the service itself, in this process, so that what is measured is what is served."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from vlp_spec.errors import ArtifactError
from vlp_spec.tasks import CaptionQuery, ScoredAnswer, VqaQuery

T = TypeVar("T")
_AT_ONCE = 64
_LOAD_TIMEOUT_S = 600.0
_ASK_TIMEOUT_S = 3600.0


class ServedModel:
    """A context: the service lives as long as it. How the model writes by itself is what is measured.

    Attributes:
        name: name@version.

    Args:
        repository: folder with model_repository/ and deployments/.
        reference: of a deployment.

    Raises:
        ArtifactError: it cannot be served.
    """

    def __init__(self, repository: Path, reference: str) -> None:
        from vlp_server.core.service import Service
        from vlp_server.core.settings import CacheSettings, CollectionSettings, CoreSettings, ModelSettings

        settings = CoreSettings(
            models=(ModelSettings(reference=reference, repository=repository),),
            cache=CacheSettings(answer_entries=0, image_entries=0, state_entries=0),
            collections=CollectionSettings(enabled=False),
        )
        self._runner = asyncio.Runner()
        self._service = Service(settings)
        try:
            self.name = self._runner.run(self._start())
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> ServedModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._runner.run(self._service.close())
        self._runner.close()

    def caption(self, images: Sequence[bytes]) -> list[str]:
        """One caption a picture; see vlp_models.evaluation.caption_split.Captioner."""
        replies = self._all([self._service.caption(image, CaptionQuery(), deadline=self._late()) for image in images])
        return [reply.results[0].captions[0].text for reply in replies]

    def answer(self, asked: Sequence[tuple[bytes, Sequence[str]]]) -> list[list[ScoredAnswer]]:
        """The best answer to each question about each picture; see vlp_models.evaluation.answering.Answerer."""
        calls = [
            self._service.vqa(image, [VqaQuery(question, top_k=1) for question in questions], deadline=self._late())
            for image, questions in asked
        ]
        return [[result.answers[0] for result in reply.results] for reply in self._all(calls)]

    def _late(self) -> float:
        return self._runner.get_loop().time() + _ASK_TIMEOUT_S

    def _all(self, calls: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
        async def gather() -> list[T]:
            room = asyncio.Semaphore(_AT_ONCE)  # more would wait in a queue that refuses them at some length

            async def one(call: Coroutine[Any, Any, T]) -> T:
                async with room:
                    return await call

            return await asyncio.gather(*map(one, calls))

        return self._runner.run(gather())

    async def _start(self) -> str:
        await self._service.start()
        ready = await self._service.wait_ready(_LOAD_TIMEOUT_S)
        (card,) = self._service.models()
        if not ready.ready:
            raise ArtifactError(f"deployment {card.name}: {card.reason}")
        return f"{card.name}@{card.version}"
