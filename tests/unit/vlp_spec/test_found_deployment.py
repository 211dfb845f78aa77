"""From a reference to the manifest that it names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from vlp_spec.encoder_digest import encoder_digest
from vlp_spec.errors import ArtifactError
from vlp_spec.found_deployment import (
    deployment_names,
    deployment_versions,
    digest_of,
    find_deployment,
    find_encoder,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))  # tests are imported one by one, not as packages
from tiny_repository import publish, write_manifest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for version in (1, 2, 10):
        publish(tmp_path, version=version)
    (tmp_path / "deployments" / "tiny" / "aliases.json").write_text(json.dumps({"stable": 2}))
    return tmp_path


def test_names_and_versions_are_those_that_have_a_manifest(root: Path) -> None:
    (root / "deployments" / "half" / "1").mkdir(parents=True)
    (root / "deployments" / "none").mkdir()
    (root / "deployments" / "none" / "aliases.json").write_text("{}")
    assert deployment_names(root) == ["tiny"]
    assert deployment_versions(root, "tiny") == [1, 2, 10]
    assert deployment_versions(root, "half") == []
    assert deployment_names(root / "nowhere") == []


@pytest.mark.parametrize(("reference", "version"), [("tiny", 10), ("tiny@1", 1), ("tiny@stable", 2)])
def test_a_reference_names_one_version(root: Path, reference: str, version: int) -> None:
    found = find_deployment(root, reference)
    assert found.deployment.version == version
    assert found.aliases == (frozenset({"stable"}) if version == 2 else frozenset())
    assert found.digest == digest_of(found.deployment)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("other", "not in this repository, which has tiny"),
        ("tiny@3", "no such version; there are 1, 2, 10 and the aliases stable"),
        ("tiny@beta", "no such version"),
        ("tiny@", "nothing after '@'"),
        ("../tiny", "letters, digits"),
    ],
)
def test_a_reference_to_nothing_says_what_there_is(root: Path, reference: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        find_deployment(root, reference)


def test_a_manifest_under_another_name_is_refused(root: Path) -> None:
    text = (root / "deployments/tiny/1.json").read_text()
    (root / "deployments/tiny/11.json").write_text(text)
    with pytest.raises(ArtifactError, match="is the manifest of tiny@1"):
        find_deployment(root, "tiny")


def test_only_one_spelling_of_a_number_is_a_version(root: Path) -> None:
    text = (root / "deployments/tiny/10.json").read_text()
    (root / "deployments/tiny/011.json").write_text(text)
    assert find_deployment(root, "tiny").deployment.version == 10


def test_a_manifest_that_cannot_be_read_is_told(root: Path) -> None:
    (root / "deployments/tiny/11.json").mkdir()
    with pytest.raises(ArtifactError, match=r"tiny/11.json: cannot be read \(IsADirectoryError\)"):
        find_deployment(root, "tiny")


@pytest.mark.parametrize("aliases", ["[1]", '{"stable": "2"}', "{"])
def test_broken_aliases_are_refused(root: Path, aliases: str) -> None:
    (root / "deployments/tiny/aliases.json").write_text(aliases)
    with pytest.raises(ArtifactError, match=r"aliases.json"):
        find_deployment(root, "tiny")


def test_an_encoder_is_found_by_its_digest_whatever_is_newer(root: Path) -> None:
    def digest_of_version(version: int) -> str:
        return encoder_digest(find_deployment(root, f"tiny@{version}").deployment)

    newest = find_deployment(root, "tiny@10").deployment
    write_manifest(root, newest, image={**newest.image, "resample": "bilinear"})
    assert digest_of_version(1) == digest_of_version(2) != digest_of_version(10)
    for version, expected in ((1, 2), (2, 2), (10, 10)):  # of equals the newest
        found = find_encoder(root, "tiny", digest_of_version(version))
        assert found is not None
        assert found.deployment.version == expected
    assert find_encoder(root, "tiny", "0" * 64) is None
    assert find_encoder(root, "other", digest_of_version(1)) is None
    with pytest.raises(ArtifactError):
        find_encoder(root, "../tiny", "0" * 64)
