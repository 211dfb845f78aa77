"""The versions of a server's models."""

from __future__ import annotations

from dataclasses import dataclass

from vlp_client.replies import Reply


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


def read_versions(reply: Reply) -> tuple[ModelVersion, ...]:
    """Read versions of models."""
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
        for one in reply.body["models"]
    )
