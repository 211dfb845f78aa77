# Made from vlp_client/aio/client.py by clients/python/write_sync_client.py: change it there.
"""The client: one object, one server."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import Self, Unpack

import httpx

from vlp_client.address import Tls, read_address
from vlp_client.bulk_records import BulkOptions, ItemResult
from vlp_client.calls import Call
from vlp_client.collection_records import AddedItem, CollectionInfo, read_collections
from vlp_client.new_items import NewItem
from vlp_client.records import ModelInfo
from vlp_client.retries import Retries
from vlp_client.sync.bulk_tasks import BulkTasks
from vlp_client.sync.captioning import Captioning
from vlp_client.sync.collection import Collection
from vlp_client.sync.judging import Judging
from vlp_client.sync.model_admin import ModelAdmin
from vlp_client.sync.pool import Items
from vlp_client.sync.sending import Sender
from vlp_client.sync.tasks import Tasks
from vlp_client.sync.transport_choice import open_transport
from vlp_client.task_replies import read_models
from vlp_client.timeouts import Timeouts

_RETRIES = Retries()


class Client(Tasks, Judging, Captioning, BulkTasks):
    """Talks to one vlpserve server; usable from several threads, and a context manager.

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
        transport: httpx.BaseTransport | None = None,
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
        self._sender = Sender(opened, timeouts, retries)

    def collection(self, name: str) -> Collection:
        """A collection by its name; asks the server nothing yet."""
        return Collection(self._sender, name)

    def index_many(
        self, collection: str, items: Items[NewItem], *, again: bool = False, **options: Unpack[BulkOptions]
    ) -> Generator[ItemResult[AddedItem], None]:
        """Add any number of items to a collection, which is there; see `Collection.index_many`."""
        return self.collection(collection).index_many(items, again=again, **options)

    def collections(self) -> tuple[CollectionInfo, ...]:
        """All collections of the server, by name.

        Raises:
            VlpClientError: see `vlp_client.errors`.
        """
        return self._sender.call(Call(verb="collections", read=read_collections))

    @property
    def admin(self) -> ModelAdmin:
        """Which versions of its models the server serves; asks it nothing yet."""
        return ModelAdmin(self._sender)

    def models(self) -> tuple[ModelInfo, ...]:
        """The served models, the default one first.

        Raises:
            VlpClientError: see `vlp_client.errors`.

        Example:
            >>> [model.id for model in client.models() if "vqa" in model.tasks]
            ['dummy@1', 'dummy-reader@1']
        """
        return self._sender.call(Call(verb="models", read=read_models))

    def ready(self) -> bool:
        """Whether the server takes requests now.

        Raises:
            VlpClientError: there is no server, or something else answers.

        Example:
            >>> client.ready()
            True
        """
        return self._sender.call(Call(verb="ready", read=lambda reply: bool(reply.body)))

    def close(self) -> None:
        """Close all connections."""
        self._sender.close()

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"
