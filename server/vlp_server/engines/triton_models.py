"""Loading and unloading versions of a model on a Triton server in explicit mode, beside those that are loaded.

Triton loads a model by its name, and which versions by the configuration that is sent along: so the versions that are
ready stay, and one joins them or leaves. Versions that go on being served are not interrupted.
"""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import json_format
from tritonclient.utils import InferenceServerException
from vlp_spec.errors import ArtifactError


async def ready_versions(client: Any, name: str) -> list[int]:
    """Versions of a model that a server can run, ascending."""
    index = await client.get_model_repository_index()
    return sorted(int(one.version) for one in index.models if one.name == name and one.state == "READY" and one.version)


async def load_version(client: Any, name: str, version: int) -> None:
    """Load a version beside those that are loaded.

    Raises:
        ArtifactError: the server has no such version, or cannot load it; the others go on being served.
    """
    versions = await ready_versions(client, name)
    if version in versions:
        return
    try:
        await _serve(client, name, sorted({*versions, version}))
    except InferenceServerException as error:
        raise ArtifactError(f"{name} version {version} cannot be loaded there", detail=str(error)) from error
    if version not in await ready_versions(client, name):  # of a version that is not on its disk Triton says nothing
        raise ArtifactError(f"{name} version {version} is not in the repository there")


async def unload_version(client: Any, name: str, version: int) -> None:
    """Unload a version; nothing happens where it is not loaded, or the server has gone."""
    try:
        versions = await ready_versions(client, name)
        if version not in versions:
            return
        if rest := [one for one in versions if one != version]:
            await _serve(client, name, rest)
        else:
            await client.unload_model(name)
    except InferenceServerException:
        return


async def _serve(client: Any, name: str, versions: list[int]) -> None:
    """Tell a server which versions of a model to have; its configuration is otherwise as on its disk."""
    try:
        found = await client.get_model_config(name)
    except InferenceServerException:  # not loaded: its configuration is not known before
        await client.load_model(name)
        found = await client.get_model_config(name)
    config = json_format.MessageToDict(found.config, preserving_proto_field_name=True)
    config["version_policy"] = {"specific": {"versions": versions}}
    await client.load_model(name, config=json.dumps(config))
