import json

import pytest
from service_rig import Rig, tiny_model
from tiny_repository import publish
from vlp_server.core.settings import EngineSettings, ModelSettings
from vlp_spec.errors import ModelNotFoundError
from vlp_spec.tasks import Task


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


def dummy(reference):
    return ModelSettings(reference=reference, engine=EngineSettings(engine="dummy"))


def find(directory, reference):
    return next(model for model in directory if model.settings.reference == reference)


async def test_an_extractor_is_found_by_its_digest_and_task():
    async with Rig(dummy("dummy"), dummy("dummy-encoder"), dummy("dummy-extractor")) as rig:
        directory = rig.service._directory
        extractor, encoder = find(directory, "dummy-extractor"), find(directory, "dummy-encoder")
        digest = extractor.loaded.encoder_digest
        assert directory.with_encoder(digest, Task.REGIONS) is extractor
        assert directory.with_encoder(digest) is None  # it makes no vectors
        assert directory.with_encoder(encoder.loaded.encoder_digest) is encoder
        assert directory.with_encoder(encoder.loaded.encoder_digest, Task.REGIONS) is None
        assert directory.with_encoder("0" * 64, Task.REGIONS) is None


async def test_of_equal_extractors_one_that_is_ready_comes_first():
    async with Rig(dummy("a-extractor"), dummy("b-extractor")) as rig:
        directory = rig.service._directory
        first, second = directory
        digest = first.loaded.encoder_digest
        assert second.loaded.encoder_digest == digest
        assert directory.with_encoder(digest, Task.REGIONS) is first
        first._fail("off")
        assert directory.with_encoder(digest, Task.REGIONS) is second
        second._fail("off")
        assert directory.with_encoder(digest, Task.REGIONS) is first  # its state says what is the matter


async def test_a_model_that_is_not_loaded_is_no_extractor_yet():
    rig = Rig(dummy("dummy-extractor"))
    assert rig.service._directory.with_encoder("0" * 64, Task.REGIONS) is None
    assert rig.service._directory.readers_of("0" * 64) == []
    await rig.service.close()


async def test_the_readers_of_an_extractor_are_those_that_name_its_digest():
    names = ("dummy", "dummy-reader", "dummy-extractor", "dummy-encoder", "b-reader-grounding")
    async with Rig(*map(dummy, names)) as rig:
        directory = rig.service._directory
        digests = {name: find(directory, name).loaded.digest for name in names}
        expected = [digests["dummy-reader"], digests["b-reader-grounding"]]
        assert directory.readers_of(digests["dummy-extractor"]) == expected
        for name in ("dummy", "dummy-reader", "dummy-encoder"):
            assert directory.readers_of(digests[name]) == []
        assert directory.readers_of("0" * 64) == []
