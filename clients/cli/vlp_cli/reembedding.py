"""The work of `vlpserve collections reembed`: a served model in this process, over the pictures of a local store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np
from vlp_server.config import ServerConfig, core_settings
from vlp_server.core.service import Service
from vlp_server.index.local import LocalStore
from vlp_server.index.reembedding import PendingItem, Reembedding
from vlp_server.index.store import Vector
from vlp_spec.errors import ArtifactError, InvalidArgumentError, RequestError
from vlp_spec.tasks import Lane

from vlp_cli.model_sources import find_models

_LOAD_TIMEOUT_S = 600.0
_ITEM_TIMEOUT_S = 600.0


async def embed_anew(store: LocalStore, name: str, config: ServerConfig, watch: Callable[[int], None]) -> int:
    """Embed every picture of a collection with the one model of `config`, and swap the vectors in.

    Args:
        store: open.
        name: of the collection.
        config: names one model.
        watch: told how many more items are done.

    Returns:
        how many items have new vectors.

    Raises:
        ArtifactError: the model cannot be served.
        NoPicturesError: items whose pictures are not kept.
        VlpError: see `Reembedding` and `Service.embed`.
    """
    found = find_models(config)
    service = Service(core_settings(config, found.targets, found.default))
    await service.start()
    try:
        readiness = await service.wait_ready(_LOAD_TIMEOUT_S)
        if not readiness.ready:
            raise ArtifactError("; ".join(f"{label}: {reason}" for label, reason in readiness.models.items()))
        encoder = service.encoder()
        work = Reembedding(store, name, model=encoder.model, encoder_digest=encoder.digest, dimension=encoder.dimension)
        watch(work.progress().done)
        for items in work.pending():
            deadline = time.monotonic() + _ITEM_TIMEOUT_S
            vectors = await asyncio.gather(*(_embed(service, item, deadline) for item in items))
            watch(work.write([(item.row, vector) for item, vector in zip(items, vectors, strict=True)]))
        work.commit()
        return work.progress().items
    finally:
        await service.close()


async def _embed(service: Service, item: PendingItem, deadline: float) -> Vector:
    try:
        reply = await service.embed([item.picture], deadline=deadline, lane=Lane.BULK)
    except RequestError as error:
        raise InvalidArgumentError(f"item {item.id!r}: {error.message}; delete it, or add it anew") from error
    return np.asarray(reply.vectors[0], dtype=np.float32)
