"""The client: one object, one server."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Self, Unpack

import httpx

from vlp_client.address import Tls, read_address
from vlp_client.aio.bulk_tasks import AsyncBulkTasks
from vlp_client.aio.captioning import AsyncCaptioning
from vlp_client.aio.collection import AsyncCollection
from vlp_client.aio.judging import AsyncJudging
from vlp_client.aio.model_admin import AsyncModelAdmin
from vlp_client.aio.pool import Items
from vlp_client.aio.sending import AsyncSender
from vlp_client.aio.tasks import AsyncTasks
from vlp_client.aio.transport_choice import open_transport
from vlp_client.bulk_records import BulkOptions, ItemResult
from vlp_client.calls import Call
from vlp_client.collection_records import AddedItem, CollectionInfo, read_collections
from vlp_client.new_items import NewItem
from vlp_client.records import ModelInfo
from vlp_client.retries import Retries
from vlp_client.task_replies import read_models
from vlp_client.timeouts import Timeouts

_RETRIES = Retries()


class AsyncClient(AsyncTasks, AsyncJudging, AsyncCaptioning, AsyncBulkTasks):
    """Talks to one vlpserve server; for many tasks of one event loop at once, and a context manager.

    Args:
        url: of the server, such as http://127.0.0.1:8080, or grpc://127.0.0.1:8081 (https and grpcs alike; gRPC needs
            the extra `grpc`).
        api_key: for a server that asks for one. It travels as it is: across a network only by https or grpcs.
        timeout_s: for each wait for bytes of an answer, and at most 10 s for a connection; or `Timeouts`.
        retries: when calls are sent again; None: never.
        tls: certificates, where the system's authorities are not enough.
        connections: at a time, of HTTP.
        transport: httpx transport in place of the network.

    Raises:
        ValueError: the address, or the key, cannot be one.
        ImportError: gRPC is asked for, and the extra is not installed.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout_s: float | Timeouts = 60.0,
        retries: Retries | None = _RETRIES,
        tls: Tls | None = None,
        connections: int = 100,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        address, timeouts = read_address(url), Timeouts.of(timeout_s)
        opened = open_transport(
            address,
            api_key=api_key,
            tls=tls,
            connect_s=timeouts.connect_s,
            connections=connections,
            transport=transport,
        )
        self._url = address.url
        self._sender = AsyncSender(opened, timeouts, retries)

    def collection(self, name: str) -> AsyncCollection:
        """A collection by its name; asks the server nothing yet."""
        return AsyncCollection(self._sender, name)

    def index_many(
        self, collection: str, items: Items[NewItem], *, again: bool = False, **options: Unpack[BulkOptions]
    ) -> AsyncGenerator[ItemResult[AddedItem], None]:
        """Add any number of items to a collection, which is there; see `AsyncCollection.index_many`."""
        return self.collection(collection).index_many(items, again=again, **options)

    async def collections(self) -> tuple[CollectionInfo, ...]:
        """All collections of the server, by name.

        Raises:
            VlpClientError: see `vlp_client.errors`.
        """
        return await self._sender.call(Call(verb="collections", read=read_collections))

    @property
    def admin(self) -> AsyncModelAdmin:
        """Which versions of its models the server serves; asks it nothing yet."""
        return AsyncModelAdmin(self._sender)

    async def models(self) -> tuple[ModelInfo, ...]:
        """The served models, the default one first.

        Raises:
            VlpClientError: see `vlp_client.errors`.

        Example:
            >>> [model.id for model in await client.models() if "vqa" in model.tasks]
            ['dummy@1', 'dummy-reader@1']
        """
        return await self._sender.call(Call(verb="models", read=read_models))

    async def ready(self) -> bool:
        """Whether the server takes requests now.

        Raises:
            VlpClientError: there is no server, or something else answers.

        Example:
            >>> await client.ready()
            True
        """
        return await self._sender.call(Call(verb="ready", read=lambda reply: bool(reply.body)))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._sender.aclose()

    async def __aenter__(self) -> Self:
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"
