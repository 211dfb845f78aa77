"""The service: the one API that every door calls. (Signatures first; the body follows.)"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry
from vlp_spec.tasks import Lane, VqaQuery

from vlp_server.core.records import ModelCard, Readiness, VqaReply
from vlp_server.core.settings import CoreSettings


class Service:
    """Answers requests with the models of `settings`.

    All async methods belong to one event loop; `models`, `alive` and `readiness` may be called at any time.
    """

    metrics: CollectorRegistry

    def __init__(self, settings: CoreSettings) -> None:
        self.settings = settings

    async def start(self) -> None:
        """Start loading the models in the background and return at once; `readiness` says when they are there."""
        raise NotImplementedError

    async def wait_ready(self, timeout_s: float) -> Readiness:
        """Wait until no model is loading any more (all ready or failed), or the time is over."""
        raise NotImplementedError

    async def drain(self, timeout_s: float) -> bool:
        """Refuse new requests (UnavailableError) and wait for those inside; True when all have ended in time."""
        raise NotImplementedError

    async def close(self) -> None:
        """Stop everything; requests still inside fail with UnavailableError. May be called twice."""
        raise NotImplementedError

    async def vqa(
        self,
        image: bytes,
        queries: Sequence[VqaQuery],
        *,
        model: str | None = None,
        deadline: float | None = None,
        lane: Lane = Lane.INTERACTIVE,
    ) -> VqaReply:
        """Answer questions about one picture.

        Args:
            image: an encoded picture.
            queries: at least one.
            model: "name", "name@version" or "name@alias"; None = the default model.
            deadline: time.monotonic() seconds; None = the default timeout from now.
            lane: bulk requests wait behind interactive ones.

        Raises:
            VlpError: any RequestError, CapacityError, InferenceError or InternalError of vlp_spec.errors.
            asyncio.CancelledError: the awaiting task was cancelled; its items have left the queue.
        """
        raise NotImplementedError

    def models(self) -> list[ModelCard]:
        """The served models, the default one first."""
        raise NotImplementedError

    def alive(self) -> bool:
        """False when only a restart helps: an engine is stuck, or the service's own tasks have died."""
        raise NotImplementedError

    def readiness(self) -> Readiness:
        """Whether requests should come here, with a reason for each model."""
        raise NotImplementedError
