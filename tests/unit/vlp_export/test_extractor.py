from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from vlp_export.extractor import with_extractor
from vlp_export.plan import ExportPlan, LargestEntry
from vlp_pipeline.region_settings import RegionSettings
from vlp_server.engines.dummy_deployment import DUMMY_REGION_SIZE, build_dummy_deployment
from vlp_spec.deployment_json import dump_deployment
from vlp_spec.encoder_digest import encoder_digest
from vlp_spec.errors import ArtifactError
from vlp_spec.found_deployment import find_deployment
from vlp_spec.repository import RepositoryLayout
from vlp_spec.tasks import Task


def publish(repository: Path, name: str, version: int = 1, **image: Any) -> None:
    """The manifest alone."""
    dummy = build_dummy_deployment(name)
    made = dataclasses.replace(dummy, version=version, image={**dummy.image, **image})
    manifest = RepositoryLayout(repository).manifest(name, version)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(dump_deployment(made))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    publish(tmp_path, "an-extractor", 1)
    publish(tmp_path, "an-extractor", 2, shorter="yes")
    publish(tmp_path, "a-reader")
    return tmp_path


def plan(**image: Any) -> ExportPlan:
    settings = {"type": "regions", "region_size": DUMMY_REGION_SIZE, "max_regions": 7, **image}
    return ExportPlan("uniter", (Task.VQA,), (), {}, settings, {}, LargestEntry("logits"))


def digest(repository: Path, reference: str) -> str:
    return encoder_digest(find_deployment(repository, reference).deployment)


def test_a_named_extractor_is_written_down_with_its_digest(repository: Path) -> None:
    before = plan()
    after = with_extractor(before, repository, "an-extractor")
    assert RegionSettings.from_mapping(after.image) == RegionSettings(
        DUMMY_REGION_SIZE, 7, "an-extractor", digest(repository, "an-extractor@2")
    )
    assert dataclasses.replace(after, image=before.image) == before
    assert "extractor" not in before.image


def test_an_older_version_may_be_meant(repository: Path) -> None:
    image = with_extractor(plan(), repository, "an-extractor@1").image
    assert (image["extractor"], image["extractor_digest"]) == ("an-extractor", digest(repository, "an-extractor@1"))
    assert digest(repository, "an-extractor@1") != digest(repository, "an-extractor@2")


def test_the_checkpoints_own_extractor_is_taken_as_it_is_now(repository: Path) -> None:
    own = plan(extractor="an-extractor", extractor_digest="0" * 64)
    assert with_extractor(own, repository, None).image["extractor_digest"] == digest(repository, "an-extractor")
    publish(repository, "other-extractor")
    assert with_extractor(own, repository, "other-extractor").image["extractor"] == "other-extractor"


def test_without_a_name_there_is_none(repository: Path) -> None:
    for bare in (plan(), plan(extractor="", extractor_digest="")):
        assert with_extractor(bare, repository, None) is bare


def test_a_model_of_pictures_has_none(repository: Path) -> None:
    pictures = plan(type="vilt")
    assert with_extractor(pictures, repository, None) is pictures
    with pytest.raises(ArtifactError, match="extractor 'an-extractor': this model reads pictures, not region features"):
        with_extractor(pictures, repository, "an-extractor")


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("nobody", {}, "'nobody': not in this repository"),
        ("an-extractor@9", {}, "an-extractor@9"),
        ("a-reader", {}, "extractor 'a-reader': it does vqa, expected regions"),
        ("an-extractor", {"region_size": 2048}, r"gives features of \['8'\] numbers, the model reads 2048"),
        (None, {"extractor": "nobody"}, "'nobody': not in this repository"),
    ],
)
def test_what_does_not_fit_is_refused(repository: Path, name: str | None, image: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        with_extractor(plan(**image), repository, name)
