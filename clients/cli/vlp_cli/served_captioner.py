"""A captioner for evaluations: the service itself, in this process, so that what is measured is what is served."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from vlp_spec.errors import ArtifactError
from vlp_spec.tasks import CaptionQuery

_LOAD_TIMEOUT_S = 600.0
_CAPTION_TIMEOUT_S = 3600.0


class ServedCaptioner:
    """See vlp_models.evaluation.caption_split.Captioner. A context: the service lives as long as it.

    Args:
        repository: folder with model_repository/ and deployments/.
        reference: of a deployment that captions; how it captions by itself is what is measured.

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
        self.name = self._runner.run(self._start())

    def __enter__(self) -> ServedCaptioner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.run(self._service.close())
        self._runner.close()

    def caption(self, images: Sequence[bytes]) -> list[str]:
        """One caption a picture; see Captioner."""
        return self._runner.run(self._caption(images))

    async def _start(self) -> str:
        await self._service.start()
        ready = await self._service.wait_ready(_LOAD_TIMEOUT_S)
        (card,) = self._service.models()
        if not ready.ready:
            raise ArtifactError(f"deployment {card.name}: {card.reason}")
        return f"{card.name}@{card.version}"

    async def _caption(self, images: Sequence[bytes]) -> list[str]:
        deadline = asyncio.get_running_loop().time() + _CAPTION_TIMEOUT_S
        asking = (self._service.caption(image, CaptionQuery(), deadline=deadline) for image in images)
        return [reply.results[0].captions[0].text for reply in await asyncio.gather(*asking)]
