from collections.abc import AsyncIterator
from typing import Any

import pytest
import tritonclient.grpc.aio as triton_aio
from triton_standin import TritonStandIn
from vlp_server.engines.triton_models import load_version, ready_versions, unload_version
from vlp_spec.errors import ArtifactError


@pytest.fixture
async def there() -> AsyncIterator[TritonStandIn]:
    async with TritonStandIn(g=[1, 2, 10], h=[1]) as started:
        yield started


@pytest.fixture
async def client(there: TritonStandIn) -> AsyncIterator[Any]:
    made = triton_aio.InferenceServerClient(there.url)
    yield made
    await made.close()


async def test_versions_are_told_in_order_and_of_one_model_alone(there: TritonStandIn, client: Any) -> None:
    assert await ready_versions(client, "g") == [1, 2, 10]
    there.loaded["g"] = [10, 1]
    assert await ready_versions(client, "g") == [1, 10]
    there.loaded["g"] = []
    assert await ready_versions(client, "g") == []
    assert await ready_versions(client, "unknown") == []


async def test_a_version_joins_those_that_are_served(there: TritonStandIn, client: Any) -> None:
    there.loaded["g"] = [1]
    await load_version(client, "g", 10)
    assert there.loaded == {"g": [1, 10], "h": [1]}
    ((name, config),) = there.loads
    assert name == "g"
    assert config["version_policy"] == {"specific": {"versions": ["1", "10"]}}
    rest = {"name": "g", "backend": "python", "max_batch_size": 8}
    assert {key: config[key] for key in rest} == rest  # otherwise as on its disk


async def test_a_version_that_is_there_is_not_loaded_again(there: TritonStandIn, client: Any) -> None:
    await load_version(client, "g", 2)
    assert there.loads == []


async def test_the_first_version_of_a_model_is_loaded_alone(there: TritonStandIn, client: Any) -> None:
    there.loaded["g"] = []
    await load_version(client, "g", 1)
    assert there.loaded["g"] == [1]


async def test_a_version_that_is_not_on_its_disk_leaves_the_others(there: TritonStandIn, client: Any) -> None:
    there.loaded["g"] = [1, 2]
    with pytest.raises(ArtifactError, match="g version 7 is not in the repository there"):
        await load_version(client, "g", 7)
    assert there.loaded["g"] == [1, 2]


async def test_a_model_that_is_not_on_its_disk(there: TritonStandIn, client: Any) -> None:
    with pytest.raises(ArtifactError, match="unknown version 1 cannot be loaded there") as caught:
        await load_version(client, "unknown", 1)
    assert "failed to load" in (caught.value.detail or "")


async def test_a_version_leaves_and_the_last_one_takes_the_model_along(there: TritonStandIn, client: Any) -> None:
    there.loaded["g"] = [1, 2]
    await unload_version(client, "g", 1)
    assert there.loaded == {"g": [2], "h": [1]}
    await unload_version(client, "g", 1)
    assert there.loaded["g"] == [2]
    await unload_version(client, "g", 2)
    assert there.loaded == {"g": [], "h": [1]}


async def test_nothing_is_to_unload_on_a_server_that_has_gone(there: TritonStandIn, client: Any) -> None:
    await there.stop()
    await unload_version(client, "g", 1)
    assert there.loaded["g"] == [1, 2, 10]
