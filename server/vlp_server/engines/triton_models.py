"""Loading and unloading versions of models on a Triton server in explicit mode, beside those that are loaded.

Triton loads a model by its name, and which versions by the configuration that is sent along: so the versions that are
ready stay, and one joins them or leaves. Versions that go on being served are not interrupted. Others may manage the
same server: who wrote last wins, so what was written is looked at afterwards, and written again where it was undone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from tritonclient.utils import InferenceServerException
from vlp_spec.errors import ArtifactError, ConfigError, DeadlineError, VlpError

from vlp_server.engines.base import HostedModel
from vlp_server.engines.triton_control import control_metadata
from vlp_server.engines.triton_server import AwayError

logger = logging.getLogger(__name__)
LOAD_TIMEOUT_S = 600.0
"""A large graph is read, optimised and warmed up."""
UNLOAD_TIMEOUT_S = 30.0
ASK_TIMEOUT_S = 5.0
UNLOAD_LIMIT_S = 120.0
"""After which nobody waits for a server that others manage, too."""
SETTLE_S = 0.2
"""From reading what is loaded to telling what shall be; others who manage the same server take about as long."""
_TRIES = 5
_READY, _LOADING = "READY", "LOADING"
# What Triton says of a version that another one has unloaded, or is unloading.
_UNDONE = ("unloaded", "")
_REFUSED, _FIXED = "protocol is restricted", "explicit model load / unload is not allowed"


class TritonModels:
    """What one server has loaded, for those who manage it.

    Args:
        client: of the server, tritonclient's for asyncio.
        secret_file: with the secret that opens model control there; None where it is open.
    """

    def __init__(self, client: Any, secret_file: Path | None = None) -> None:
        self._client = client
        self._secret_file = secret_file

    async def names(self) -> set[str]:
        """All models of its repository, loaded or not; errors as `ready_versions`."""
        return {one.name for one in await self._index()}

    async def ready_versions(self, name: str) -> list[int]:
        """Versions of a model that it can run, ascending.

        Raises:
            AwayError: it has gone.
            DeadlineError: it does not answer.
            ArtifactError: it lets nobody with this secret, or nobody at all, manage its models.
        """
        return await self._versions(name, _READY)

    async def load(self, name: str, version: int) -> None:
        """Load a version beside those that are loaded; further errors as `ready_versions`.

        Raises:
            ArtifactError: the server has no such version, or cannot load it; the others go on being served.
        """
        for tried in range(_TRIES):
            if version in await self.ready_versions(name):
                if tried:  # and nobody has undone it meanwhile
                    return
            else:
                await self._join(name, version, is_first=not tried)
            await _settled()
        raise ArtifactError(f"{name} version {version} cannot be loaded there: others unload it again")

    async def unload(self, name: str, version: int) -> None:
        """Unload a version; nothing happens where it is not loaded. Further errors as `ready_versions`.

        Raises:
            ArtifactError: the server cannot unload it, or others load it again.
        """
        for tries_left in reversed(range(_TRIES)):
            there = await self._versions(name, _READY, _LOADING)
            if version not in there:
                return
            if not tries_left:
                break
            try:
                await self._leave(name, [one for one in there if one != version])
            except InferenceServerException as error:
                raise ArtifactError(f"{name} version {version} cannot be unloaded there", detail=str(error)) from error
            await _settled()
        raise ArtifactError(f"{name} version {version} cannot be unloaded there: others load it again")

    async def _join(self, name: str, version: int, *, is_first: bool) -> None:
        """Load a version once; another one may undo it while that lasts."""
        there = await self._versions(name, _READY, _LOADING)
        try:
            await self._serve(name, sorted({*there, version}))
        except InferenceServerException as error:
            if await self._reason(name, version) not in _UNDONE:
                raise ArtifactError(f"{name} version {version} cannot be loaded there", detail=str(error)) from error
        # Of a version that is not on its disk Triton says nothing; nor of one that another one was faster about.
        if not is_first and await self._reason(name, version) is None:
            raise ArtifactError(f"{name} version {version} is not in the repository there")

    async def _leave(self, name: str, rest: list[int]) -> None:
        config = await self._config(name)
        if rest and config is not None:
            await self._send(name, config, rest, UNLOAD_TIMEOUT_S)
            return
        with _meaning():
            await self._client.unload_model(name, headers=self._headers(), client_timeout=UNLOAD_TIMEOUT_S)

    async def _serve(self, name: str, versions: list[int]) -> None:
        """Tell the server which versions of a model to have; its configuration is otherwise as on its disk."""
        config = await self._config(name)
        if config is None:  # not loaded: its configuration is not known before
            with _meaning():
                await self._client.load_model(name, headers=self._headers(), client_timeout=LOAD_TIMEOUT_S)
            config = await self._config(name)
        if config is None:
            raise InferenceServerException(f"{name} was unloaded while it was loaded")
        await self._send(name, config, versions, LOAD_TIMEOUT_S)

    async def _send(self, name: str, config: dict[str, Any], versions: list[int], timeout_s: float) -> None:
        sent = json.dumps({**config, "version_policy": {"specific": {"versions": versions}}})
        with _meaning():
            await self._client.load_model(name, headers=self._headers(), config=sent, client_timeout=timeout_s)

    async def _reason(self, name: str, version: int) -> str | None:
        """Why a version cannot be run, empty where it can; None where the server has never heard of it.

        What it was told to have is no help: each version answers with the configuration that it was loaded with.
        """
        found = [one.reason for one in await self._index() if (one.name, one.version) == (name, str(version))]
        return str(found[0]) if found else None

    async def _config(self, name: str) -> dict[str, Any] | None:
        """The configuration that a model runs with; None where it is not loaded."""
        try:
            with _meaning():
                found = await self._client.get_model_config(name, headers=self._headers(), client_timeout=ASK_TIMEOUT_S)
        except InferenceServerException:
            return None
        config: dict[str, Any] = json_format.MessageToDict(found.config, preserving_proto_field_name=True)
        return config

    async def _versions(self, name: str, *states: str) -> list[int]:
        index = await self._index()
        return sorted(int(one.version) for one in index if one.name == name and one.state in states and one.version)

    async def _index(self) -> Sequence[Any]:
        with _meaning():
            index = await self._client.get_model_repository_index(headers=self._headers(), client_timeout=ASK_TIMEOUT_S)
        models: Sequence[Any] = index.models
        return models

    def _headers(self) -> dict[str, str]:
        try:
            return control_metadata(self._secret_file)
        except ConfigError as error:
            raise ArtifactError("the secret of model control cannot be read here", detail=str(error)) from error


async def bring(there: TritonModels, model: HostedModel, is_wanted: Callable[[], bool]) -> None:
    """Load a model on a server; one that is not wanted any more when it is there leaves again.

    One that is not required is loaded where the server has it, and what becomes of that is no fault.

    Raises:
        AwayError, DeadlineError, ArtifactError: as TritonModels.load.
    """
    if not is_wanted() or not (model.required or model.name in await there.names()):
        return
    try:
        await there.load(model.name, model.version)
    except ArtifactError as error:
        if model.required:
            raise
        logger.warning("%s (%s)", error.message, error.detail)
        return
    if not is_wanted():
        await there.unload(model.name, model.version)


async def unload_everywhere(servers: Iterable[TritonModels], models: Sequence[HostedModel]) -> None:
    """Unload models on all servers. One that has gone has nothing loaded.

    Raises:
        ArtifactError: somewhere one could not be unloaded; all others were.
    """
    jobs = [(there, model) for there in servers for model in models]
    ends = await asyncio.gather(
        *(there.unload(model.name, model.version) for there, model in jobs), return_exceptions=True
    )
    faults: list[str] = []
    for (_, model), end in zip(jobs, ends, strict=True):
        if isinstance(end, BaseException) and not isinstance(end, AwayError):
            told, detail = f"{model.name} version {model.version} cannot be unloaded there", repr(end)
            if isinstance(end, VlpError):
                told, detail = end.message, end.detail or detail
            logger.error("%s (%s)", told, detail)
            faults.append(told)
    if faults:
        raise ArtifactError("; ".join(dict.fromkeys(faults)))


@contextmanager
def _meaning() -> Iterator[None]:
    """What an error of any of these calls means; others are left as they are."""
    try:
        yield
    except InferenceServerException as error:
        status, message = str(error.status() or "").removeprefix("StatusCode."), str(error.message())
        if _REFUSED in message:
            raise ArtifactError("Triton refuses the secret of model control", detail=message) from error
        if _FIXED in message:
            raise ArtifactError(
                "Triton was started with fixed models (vlpserve triton --explicit lets them be managed)", detail=message
            ) from error
        if status in ("UNAVAILABLE", "CANCELLED"):
            raise AwayError(f"{status} {message}") from error
        if status == "DEADLINE_EXCEEDED":
            raise DeadlineError("Triton has not loaded or unloaded a model in time", detail=message) from error
        raise


async def _settled() -> None:
    """Wait until one who read before this one wrote has written, too; two must not go on in step."""
    await asyncio.sleep(SETTLE_S * random.uniform(1.0, 2.0))
