import json

import pytest
from service_rig import Rig, tiny_model
from tiny_repository import publish
from vlp_spec.errors import ModelNotFoundError


@pytest.fixture
def root(tmp_path):
    for version in (1, 2):
        publish(tmp_path, version=version)
    (tmp_path / "deployments" / "tiny" / "aliases.json").write_text(json.dumps({"stable": 1}))
    return tmp_path


async def test_names_versions_and_aliases_lead_to_their_model(root):
    async with Rig(tiny_model(root, "tiny@stable"), tiny_model(root, "tiny@2")) as rig:
        wanted = {
            None: "tiny@1",
            "tiny": "tiny@2",
            "tiny@1": "tiny@1",
            "tiny@stable": "tiny@1",
            "tiny@2": "tiny@2",
        }
        directory = rig.service._directory
        assert {name: directory.find(name).label for name in wanted} == wanted
        for unknown in ("tiny@3", "tiny@beta", "tiny@", "other", ""):
            with pytest.raises(ModelNotFoundError, match="not served here; there are: tiny@1, tiny@2"):
                directory.find(unknown)


async def test_a_model_that_is_loading_stands_for_what_it_may_become(root):
    rig = Rig(tiny_model(root, "tiny"))
    directory = rig.service._directory
    assert directory.find("tiny@2").label == "tiny"
    with pytest.raises(ModelNotFoundError):
        directory.find("other@2")
    await rig.service.close()


async def test_a_long_name_is_cut_in_the_message():
    async with Rig() as rig:
        with pytest.raises(ModelNotFoundError) as caught:
            rig.service._directory.find("x" * 10_000)
        assert len(caught.value.message) < 300
