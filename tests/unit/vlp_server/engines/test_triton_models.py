import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc.aio as triton_aio
import vlp_server.engines.triton_models as triton_models
from triton_standin import Fault, TritonStandIn
from vlp_server.engines.base import HostedModel
from vlp_server.engines.triton_models import TritonModels, bring, unload_everywhere
from vlp_server.engines.triton_server import AwayError
from vlp_spec.errors import ArtifactError, DeadlineError

SECRET = "0123456789abcdef_-"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_models, "SETTLE_S", 0.02)


@pytest.fixture
async def there() -> AsyncIterator[TritonStandIn]:
    async with TritonStandIn(g=[1, 2, 10], h=[1]) as started:
        yield started


@pytest.fixture
async def client(there: TritonStandIn) -> AsyncIterator[Any]:
    made = triton_aio.InferenceServerClient(there.url)
    yield made
    await made.close()


@pytest.fixture
def models(client: Any) -> TritonModels:
    return TritonModels(client)


async def test_versions_are_told_in_order_and_of_one_model_alone(there: TritonStandIn, models: TritonModels) -> None:
    assert await models.ready_versions("g") == [1, 2, 10]
    there.loaded["g"] = [10, 1]
    assert await models.ready_versions("g") == [1, 10]
    there.loaded["g"] = []
    assert await models.ready_versions("g") == []
    assert await models.ready_versions("unknown") == []
    assert await models.names() == {"g", "h"}


async def test_a_version_joins_those_that_are_served(there: TritonStandIn, models: TritonModels) -> None:
    there.loaded["g"] = [1]
    await models.load("g", 10)
    assert there.loaded == {"g": [1, 10], "h": [1]}
    ((name, config),) = there.loads
    assert name == "g"
    assert config["version_policy"] == {"specific": {"versions": ["1", "10"]}}
    rest = {"name": "g", "backend": "python", "max_batch_size": 8}
    assert {key: config[key] for key in rest} == rest  # otherwise as on its disk


async def test_a_version_that_is_there_is_not_loaded_again(there: TritonStandIn, models: TritonModels) -> None:
    await models.load("g", 2)
    assert there.loads == []


async def test_the_first_version_of_a_model_is_loaded_alone(there: TritonStandIn, models: TritonModels) -> None:
    there.loaded["g"] = []
    await models.load("g", 1)
    assert there.loaded["g"] == [1]


async def test_a_version_that_is_not_on_its_disk_leaves_the_others(there: TritonStandIn, models: TritonModels) -> None:
    there.loaded["g"] = [1, 2]
    with pytest.raises(ArtifactError, match="g version 7 is not in the repository there"):
        await models.load("g", 7)
    assert there.loaded["g"] == [1, 2]


async def test_a_model_that_is_not_on_its_disk(models: TritonModels) -> None:
    with pytest.raises(ArtifactError, match="unknown version 1 cannot be loaded there") as caught:
        await models.load("unknown", 1)
    assert "failed to load" in (caught.value.detail or "")


async def test_a_version_leaves_and_the_last_one_takes_the_model_along(
    there: TritonStandIn, models: TritonModels
) -> None:
    there.loaded["g"] = [1, 2]
    await models.unload("g", 1)
    assert there.loaded == {"g": [2], "h": [1]}
    await models.unload("g", 1)
    assert there.loaded["g"] == [2]
    await models.unload("g", 2)
    assert there.loaded == {"g": [], "h": [1]}


async def test_what_another_one_writes_at_the_same_time_is_not_lost_for_this_one(
    there: TritonStandIn, models: TritonModels
) -> None:
    there.loaded["g"] = [1]
    undone = []

    def another_wrote(name: str) -> None:
        if len(undone) < 2:
            undone.append(list(there.loaded[name]))
            there.loaded[name] = [1, 2]
            there.configs[name].version_policy.specific.versions[:] = [1, 2]

    there.after_load = another_wrote
    await models.load("g", 10)
    assert undone == [[1, 10], [1, 2, 10]]
    assert there.loaded["g"] == [1, 2, 10]


async def test_two_at_the_same_time_both_get_what_they_want(there: TritonStandIn, client: Any) -> None:
    one, other = TritonModels(client), TritonModels(client)
    there.loaded["g"] = []
    await asyncio.gather(one.load("g", 1), other.load("g", 2))
    assert there.loaded["g"] == [1, 2]
    await asyncio.gather(one.unload("g", 1), other.load("g", 10))
    assert there.loaded["g"] == [2, 10]
    await asyncio.gather(one.unload("g", 2), other.unload("g", 10))
    assert there.loaded["g"] == []


async def test_two_who_undo_each_other_for_ever_are_told(there: TritonStandIn, models: TritonModels) -> None:
    there.loaded["g"] = [1]

    def another_wrote(name: str) -> None:
        there.loaded[name] = [1]
        there.configs[name].version_policy.specific.versions[:] = [1]

    there.after_load = another_wrote
    with pytest.raises(ArtifactError, match="g version 2 cannot be loaded there: others unload it again"):
        await models.load("g", 2)
    assert 1 < len(there.loads) < 10


async def test_a_version_that_another_one_brings_back_is_unloaded_again(
    there: TritonStandIn, models: TritonModels
) -> None:
    there.loaded["g"] = [1, 2]
    undone = []

    def another_wrote(name: str) -> None:
        if len(undone) < limit:
            undone.append(list(there.loaded[name]))
            there.loaded[name] = [1, 2]
            there.configs[name].version_policy.specific.versions[:] = [1, 2]

    there.after_load, limit = another_wrote, 1
    await models.unload("g", 1)
    assert there.loaded["g"] == [2]
    there.loaded["g"], limit = [1, 2], 100
    with pytest.raises(ArtifactError, match="g version 1 cannot be unloaded there: others load it again"):
        await models.unload("g", 1)
    assert len(undone) < 10


async def test_a_server_that_has_gone_is_away_and_has_nothing_to_unload(
    there: TritonStandIn, models: TritonModels
) -> None:
    await there.stop()
    with pytest.raises(AwayError):
        await models.load("g", 1)
    with pytest.raises(AwayError):
        await models.unload("g", 1)
    await unload_everywhere([models], [HostedModel("g", 1)])


@pytest.mark.parametrize("call", ["load", "unload", "index"])
async def test_nobody_waits_for_ever_for_a_server_that_hangs(
    there: TritonStandIn, models: TritonModels, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    there.loaded["g"] = [1]
    there.hang = asyncio.Event()
    for name in ("ASK_TIMEOUT_S", "LOAD_TIMEOUT_S", "UNLOAD_TIMEOUT_S"):
        monkeypatch.setattr(triton_models, name, 0.05)
    asked = {"load": models.load("g", 2), "unload": models.unload("g", 1), "index": models.names()}
    others = [asked.pop(name) for name in list(asked) if name != call]
    for one in others:
        one.close()
    try:
        with pytest.raises(DeadlineError):
            await asked[call]
    finally:
        there.hang.set()


async def test_a_load_that_takes_long_is_given_up(
    there: TritonStandIn, models: TritonModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.loaded["g"] = [1]
    monkeypatch.setattr(triton_models, "LOAD_TIMEOUT_S", 0.05)
    go = asyncio.Event()
    there.before_load = lambda name: go.wait()
    try:
        with pytest.raises(DeadlineError):
            await models.load("g", 2)
    finally:
        go.set()


async def test_calls_carry_the_secret_of_the_file(
    there: TritonStandIn, client: Any, models: TritonModels, tmp_path: Path
) -> None:
    there.secret, file = SECRET, tmp_path / "secret"
    there.loaded["g"] = [1]
    file.write_text(SECRET + "\n")
    let_in = TritonModels(client, file)
    await let_in.load("g", 2)
    assert there.loaded["g"] == [1, 2]
    await let_in.unload("g", 1)
    await let_in.unload("g", 2)
    assert there.loaded["g"] == []
    for stranger in (models, TritonModels(client, file)):
        with pytest.raises(ArtifactError, match="Triton refuses the secret of model control"):
            await stranger.load("g", 1)
        with pytest.raises(ArtifactError, match="refuses"):
            await unload_everywhere([stranger], [HostedModel("h", 1)])
        file.write_text("f" * 20)
    file.unlink()
    with pytest.raises(ArtifactError, match="secret of model control cannot be read here"):
        await let_in.load("g", 1)
    assert there.loaded == {"g": [], "h": [1]}


async def test_a_server_with_fixed_models_says_so(there: TritonStandIn, models: TritonModels) -> None:
    def refuse(name: str) -> None:
        raise Fault("UNAVAILABLE", "explicit model load / unload is not allowed if polling is enabled")

    there.before_load = there.before_unload = refuse
    there.loaded["g"] = [1]
    with pytest.raises(ArtifactError, match="Triton was started with fixed models"):
        await models.load("g", 2)
    with pytest.raises(ArtifactError, match="Triton was started with fixed models"):
        await models.unload("g", 1)


async def test_what_cannot_be_unloaded_is_told_and_the_rest_is_unloaded(
    there: TritonStandIn, models: TritonModels, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(name: str) -> None:
        if name == "g":
            raise Fault("INTERNAL", "the disk is on fire")

    there.before_unload = refuse
    there.loaded["g"] = [1]
    with pytest.raises(ArtifactError, match="g version 1 cannot be unloaded there"):
        await unload_everywhere([models], [HostedModel("g", 1), HostedModel("h", 1)])
    assert there.loaded == {"g": [1], "h": []}
    assert "the disk is on fire" in caplog.text


async def test_what_is_not_required_is_loaded_where_it_is_and_is_no_fault_where_it_is_not(
    there: TritonStandIn, models: TritonModels
) -> None:
    there.loaded = {"g": [1], "h": []}
    await bring(models, HostedModel("h", 1, required=False), lambda: True)
    assert there.loaded["h"] == [1]
    await bring(models, HostedModel("h", 5, required=False), lambda: True)
    await bring(models, HostedModel("unknown", 1, required=False), lambda: True)
    assert there.loaded == {"g": [1], "h": [1]}
    with pytest.raises(ArtifactError):
        await bring(models, HostedModel("unknown", 1), lambda: True)


async def test_what_was_unloaded_while_it_was_loaded_does_not_stay(there: TritonStandIn, models: TritonModels) -> None:
    there.loaded["g"] = [1]
    wanted = [True]
    there.after_load = lambda name: wanted.clear()
    await bring(models, HostedModel("g", 2), lambda: bool(wanted))
    assert there.loaded["g"] == [1]
    loads = len(there.loads)
    await bring(models, HostedModel("g", 10), lambda: bool(wanted))
    assert (there.loaded["g"], len(there.loads)) == ([1], loads)
