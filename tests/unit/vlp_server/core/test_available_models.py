import json
from dataclasses import replace

import pytest
from service_rig import DUMMY, tiny_model
from tiny_repository import publish
from vlp_server.core.available_models import AvailableModels
from vlp_server.core.settings import CoreSettings, EngineSettings
from vlp_spec.errors import ModelNotFoundError


@pytest.fixture
def root(tmp_path):
    for version in (1, 3, 10):
        publish(tmp_path / "a", version=version)
    publish(tmp_path / "a", "other")
    publish(tmp_path / "b", version=4)
    publish(tmp_path / "b", "more", version=2)
    publish(tmp_path / "elsewhere", "secret")
    return tmp_path


def available_in(*models, **core):
    return AvailableModels(CoreSettings(models=models, **core))


def test_all_versions_of_the_served_repositories_are_there_and_no_others(root):
    available = available_in(tiny_model(root / "a"), tiny_model(root / "b", "more"), DUMMY)
    expected = [("more", 2), ("other", 1), ("tiny", 1), ("tiny", 3), ("tiny", 10)]
    assert available.versions() == expected
    assert available.versions("tiny") == expected[2:]
    for name in ("secret", "dummy", "../elsewhere", "", "x" * 1000):
        assert available.versions(name) == []


def test_a_name_means_the_repository_that_it_was_configured_from(root):
    models = tiny_model(root / "a", "other"), tiny_model(root / "b", "tiny@4")
    assert available_in(*models).versions("tiny") == [("tiny", 4)]
    assert available_in(*models).settings("tiny", 4).repository == root / "b"
    with pytest.raises(ModelNotFoundError, match="no version 3 on disk; there are 4"):
        available_in(*models).settings("tiny", 3)


def test_a_new_version_is_served_as_its_name_is(root):
    own = replace(tiny_model(root / "a", "tiny@1"), engine=EngineSettings(threads=3))
    available = available_in(own, tiny_model(root / "a", "other"), engine=EngineSettings(threads=7))
    assert available.settings("tiny", 3) == replace(own, reference="tiny@3")


def test_a_name_that_was_not_configured_has_no_limits_of_its_own(root):
    limited = replace(tiny_model(root / "a", "tiny@1"), engine=EngineSettings(threads=3))
    general = EngineSettings(threads=7)
    assert available_in(limited, engine=general).settings("other", 1).engine == general
    assert available_in(limited).settings("other", 1).engine.threads == 3


@pytest.mark.parametrize("folder", ["has space", ".hidden", "a..b"])
def test_folders_that_cannot_be_names_are_passed_over(folder, root):
    (root / "a" / "deployments" / folder).mkdir()
    (root / "a" / "deployments" / folder / "1.json").write_text("{}")
    assert ("other", 1) in available_in(tiny_model(root / "a")).versions()
    with pytest.raises(ModelNotFoundError):
        available_in(tiny_model(root / "a")).settings(folder, 1)


@pytest.mark.parametrize(
    ("reference", "version"),
    [("tiny", 10), ("tiny@3", 3), ("tiny@7", 7), ("tiny@stable", 1), ("tiny@beta", None), ("nobody", None)],
)
def test_the_version_that_a_reference_means(reference, version, root):
    (root / "a" / "deployments" / "tiny" / "aliases.json").write_text(json.dumps({"stable": 1}))
    available = available_in(tiny_model(root / "a"))
    assert available.version_of(tiny_model(root / "a", reference)) == version
    (root / "a" / "deployments" / "tiny" / "10.json").write_text("broken")
    assert available.version_of(tiny_model(root / "a", "tiny")) == 10
    assert available.version_of(DUMMY) == 1
