"""Which versions of its models a server serves: for operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlp_client.aio.sending import AsyncSender
from vlp_client.calls import Call, Repeat
from vlp_client.http_wire import path_part
from vlp_client.model_versions import ModelVersion, read_versions

# A model takes minutes to load, and the server ends the wait itself.
_PATIENCE_S = 3600.0


class AsyncModelAdmin:
    """Made by `AsyncClient.admin`. Methods that change something return the versions of that model.

    Where the server asks for keys, this needs one whose role is admin. All methods raise VlpClientError; see
    `vlp_client.errors`. ValueError: from a name that no model can have.
    """

    def __init__(self, sender: AsyncSender) -> None:
        self._sender = sender

    async def versions(self) -> tuple[ModelVersion, ...]:
        """Every version that is served, or that could be loaded.

        Example:
            >>> [(one.name, one.version, one.state) for one in await client.admin.versions() if one.name == "dummy"]
            [('dummy', 1, 'served')]
        """
        return await self._sender.call(Call(verb="model_versions", read=read_versions))

    async def load(self, name: str, version: int, *, deadline_s: float | None = None) -> tuple[ModelVersion, ...]:
        """Load a version beside what is served. Until its name is switched to it, only name@version means it.

        Args:
            deadline_s: after which the server answers though it goes on loading; None for the server's default.
        """
        return await self._change(name, "load_model", {"version": version}, deadline_s)

    async def switch(self, name: str, version: int) -> tuple[ModelVersion, ...]:
        """Let the name mean a served version from now on; no request is lost."""
        return await self._change(name, "switch_model", {"version": version})

    async def rollback(self, name: str) -> tuple[ModelVersion, ...]:
        """Let the name mean what it meant before it was switched."""
        return await self._change(name, "rollback_model", {})

    async def unload(
        self, name: str, version: int, *, force: bool = False, deadline_s: float | None = None
    ) -> tuple[ModelVersion, ...]:
        """Take a version away, once the requests inside have left.

        Args:
            force: also the last version of its name, and one that other served models need.
            deadline_s: as of `load`.
        """
        return await self._change(name, "unload_model", {"version": version, "force": force}, deadline_s)

    async def _change(
        self, name: str, verb: str, fields: Mapping[str, Any], deadline_s: float | None = None
    ) -> tuple[ModelVersion, ...]:
        path_part(name)  # what no model can be named is told here
        call = Call(
            verb=verb,
            read=read_versions,
            fields=fields,
            name=name,
            deadline_s=deadline_s,
            patience_s=_PATIENCE_S,
            repeat=Repeat.NEVER,
        )
        return await self._sender.call(call)
