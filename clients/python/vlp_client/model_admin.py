"""Which versions of its models a server serves: for operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from vlp_client.connection import Connection, deadline_headers, path_part

_MODELS = "/v1/admin/models"
# A model takes minutes to load, and the server ends the wait itself.
_PATIENCE_S = 3600.0


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of a model on a server.

    Attributes:
        version: None where a configured reference means none.
        state: on_disk, loading, served, failed (also to load, the last time) or unloading.
        reason: why it is loading or failed; else empty.
        current: whether its name without a version means it.
        previous: whether rolling back would lead to it.
        requests: inside it now.
    """

    name: str
    version: int | None
    state: str
    reason: str
    current: bool
    previous: bool
    requests: int


class ModelAdmin:
    """Made by `Client.admin`. Methods that change something return the versions of that model.

    Where the server asks for keys, this needs one whose role is admin. All methods raise VlpClientError; see
    `vlp_client.errors`. ValueError: from a name that no model can have.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def versions(self) -> tuple[ModelVersion, ...]:
        """Every version that is served, or that could be loaded."""
        return self._connection.call("GET", _MODELS, _versions)

    def load(self, name: str, version: int, *, deadline_s: float | None = None) -> tuple[ModelVersion, ...]:
        """Load a version beside what is served. Until its name is switched to it, only name@version means it.

        Args:
            deadline_s: after which the server answers though it goes on loading; None for the server's default.
        """
        return self._change(name, "load", {"version": version}, deadline_s)

    def switch(self, name: str, version: int) -> tuple[ModelVersion, ...]:
        """Let the name mean a served version from now on; no request is lost."""
        return self._change(name, "switch", {"version": version})

    def rollback(self, name: str) -> tuple[ModelVersion, ...]:
        """Let the name mean what it meant before it was switched."""
        return self._change(name, "rollback", {})

    def unload(
        self, name: str, version: int, *, force: bool = False, deadline_s: float | None = None
    ) -> tuple[ModelVersion, ...]:
        """Take a version away, once the requests inside have left.

        Args:
            force: also the last version of its name, and one that other served models need.
            deadline_s: as of `load`.
        """
        return self._change(name, "unload", {"version": version, "force": force}, deadline_s)

    def _change(
        self, name: str, what: str, body: Mapping[str, Any], deadline_s: float | None = None
    ) -> tuple[ModelVersion, ...]:
        path = f"{_MODELS}/{path_part(name)}/{what}"
        headers = deadline_headers(deadline_s)
        return self._connection.call("POST", path, _versions, json=body, headers=headers, timeout=_PATIENCE_S)


def _versions(body: Mapping[str, Any], _: httpx.Headers) -> tuple[ModelVersion, ...]:
    return tuple(
        ModelVersion(
            name=str(one["name"]),
            version=None if one["version"] is None else int(one["version"]),
            state=str(one["state"]),
            reason=str(one["reason"]),
            current=bool(one["current"]),
            previous=bool(one["previous"]),
            requests=int(one["requests"]),
        )
        for one in body["models"]
    )
