from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from vlp_cli import export_child
from vlp_cli.model_sources import FoundModels, find_models
from vlp_server.config import ModelTarget, load_config
from vlp_server.engines.dummy_deployment import build_dummy_deployment
from vlp_spec.deployment_json import dump_deployment
from vlp_spec.errors import ArtifactError, ConfigError
from vlp_spec.repository import RepositoryLayout


def publish(repository: Path, name: str, source: str = "s", version: int = 1, **image: str) -> Path:
    """A manifest; `image` changes what it says of pictures."""
    dummy = build_dummy_deployment(name)
    changed = {**dummy.image, **image}
    deployment = dataclasses.replace(dummy, source={"id": source}, version=version, image=changed)
    manifest = RepositoryLayout(repository).manifest(name, version)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(dump_deployment(deployment))
    return manifest


class Exporter:
    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def __call__(self, source: str, name: str, repository: Path) -> None:
        self.calls.append((source, name))
        publish(repository, name, source, version=len(self.calls))


Find = Callable[..., FoundModels]


@pytest.fixture
def exporter() -> Exporter:
    return Exporter()


@pytest.fixture
def find(tmp_path: Path, exporter: Exporter) -> Find:
    publish(tmp_path / "zoo" / "repository", "shipped")

    def find_named(*names: str, **flags: str) -> FoundModels:
        dotted = {name.replace("__", "."): value for name, value in flags.items()}
        given = {"models.store": str(tmp_path / "store"), **({"models.serve": ",".join(names)} if names else {})}
        return find_models(load_config({**given, **dotted}, {}), exporter, tmp_path / "zoo")

    return find_named


def test_a_reader_that_is_named_brings_its_extractor(find: Find, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    for name in ("dummy-extractor", "a-reader", "b-reader-grounding", "b"):
        publish(mine, name)

    def targets(*names: str) -> list[str]:
        found = find(*names, models__repository=str(mine)).targets
        assert {target.repository for target in found} == {mine}
        return [target.reference for target in found]

    assert targets("a-reader") == ["a-reader", "dummy-extractor"]
    named = ["b", "a-reader@1", "b-reader-grounding"]
    assert targets(*named) == [*named, "dummy-extractor"]
    assert targets("dummy-extractor@1", "a-reader") == ["dummy-extractor@1", "a-reader"]
    assert targets("b") == ["b"]
    assert find("a-reader", models__repository=str(mine), models__default="a-reader").default == "a-reader"


def test_the_extractor_comes_in_the_version_whose_features_are_read(find: Find, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    publish(mine, "a-reader")
    publish(mine, "dummy-extractor", version=1)
    publish(mine, "dummy-extractor", version=2, colour="other")
    found = find("a-reader", models__repository=str(mine)).targets
    assert [target.reference for target in found] == ["a-reader", "dummy-extractor@1"]


def test_an_extractor_that_does_not_lie_beside_its_reader_is_not_brought(find: Find, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    publish(mine, "a-reader")
    publish(mine, "b-reader", extractor="", extractor_digest="")
    publish(mine, "c-reader", extractor="../dummy-extractor")
    publish(tmp_path / "store", "dummy-extractor")
    for name in ("a-reader", "b-reader", "c-reader"):
        assert find(name, models__repository=str(mine)).targets == (ModelTarget(name, mine),)
    publish(mine, "dummy-extractor", colour="other")
    assert find("a-reader", models__repository=str(mine)).targets == (ModelTarget("a-reader", mine),)


def test_a_reader_without_a_readable_manifest_is_served_as_it_was_named(find: Find, tmp_path: Path) -> None:
    manifest = publish(tmp_path / "mine", "a-reader")
    publish(tmp_path / "mine", "dummy-extractor")
    manifest.write_text("{")
    found = find("a-reader", models__repository=str(tmp_path / "mine"))
    assert found.targets == (ModelTarget("a-reader", tmp_path / "mine"),)


def test_without_names_the_shipped_models_are_served(find: Find, tmp_path: Path) -> None:
    assert find() == FoundModels((ModelTarget("shipped", tmp_path / "zoo" / "repository"),), None)


def test_without_names_a_repository_is_served_whole(find: Find, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    publish(mine, "b")
    publish(mine, "a")
    assert find(models__repository=str(mine)).targets == (ModelTarget("a", mine), ModelTarget("b", mine))
    (tmp_path / "bare").mkdir()
    with pytest.raises(ConfigError, match="there is no deployment in"):
        find(models__repository=str(tmp_path / "bare"))
    with pytest.raises(ConfigError, match="is no folder"):
        find("shipped", models__repository=str(tmp_path / "nowhere"))


def test_an_installation_without_models_says_so(tmp_path: Path, exporter: Exporter) -> None:
    config = load_config({"models.store": str(tmp_path / "store")}, {})
    with pytest.raises(ConfigError, match="ships no model"):
        find_models(config, exporter, tmp_path / "empty")


def test_names_versions_and_the_dummy(find: Find, tmp_path: Path) -> None:
    publish(tmp_path / "mine", "own")
    publish(tmp_path / "store", "kept")
    found = find("own@2", "kept", "shipped", "dummy", models__repository=str(tmp_path / "mine"))
    assert found.targets == (
        ModelTarget("own@2", tmp_path / "mine"),
        ModelTarget("kept", tmp_path / "store"),
        ModelTarget("shipped", tmp_path / "zoo" / "repository"),
        ModelTarget("dummy", None),
    )


def test_the_dummy_engine_needs_no_model(find: Find) -> None:
    assert find(engine__engine="dummy").targets == (ModelTarget("dummy", None),)
    assert find("a", "b", engine__engine="dummy").targets == (ModelTarget("a", None), ModelTarget("b", None))


def test_every_unknown_name_is_told_before_anything_is_exported(find: Find, tmp_path: Path, exporter: Exporter) -> None:
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(ConfigError) as caught:
        find("shiped", str(tmp_path / "checkpoint"), "other")
    assert len(caught.value.faults) == 2
    assert "'shiped' is no deployment" in caught.value.faults[0]
    assert "deployments here: shipped, dummy" in caught.value.faults[0]
    assert exporter.calls == []


def test_a_directory_is_exported_once_and_again_when_it_changes(find: Find, tmp_path: Path, exporter: Exporter) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    weights = folder / "model.safetensors"
    weights.write_bytes(b"a")
    os.utime(weights, (1, 1))
    target = ModelTarget("my-model", tmp_path / "store")
    assert find(str(folder)).targets == (target,)
    assert find(str(folder), models__default=str(folder)) == FoundModels((target,), "my-model")
    assert exporter.calls == [(str(folder), "my-model")]
    os.utime(weights, (4e9, 4e9))
    assert find(str(folder)).targets == (target,)
    assert exporter.calls == [(str(folder), "my-model")] * 2


def test_a_hub_id_is_exported_once(find: Find, tmp_path: Path, exporter: Exporter) -> None:
    for _ in range(2):
        found = find("someone/vilt-b32-vqa")
        assert found.targets == (ModelTarget("vilt-b32-vqa", tmp_path / "store"),)
    assert exporter.calls == [("someone/vilt-b32-vqa", "vilt-b32-vqa")]


def test_two_checkpoints_of_one_name_are_not_mixed_up(find: Find, exporter: Exporter) -> None:
    find("someone/vilt")
    with pytest.raises(ConfigError, match="has one of that name .'someone/vilt'."):
        find("else/vilt")
    assert exporter.calls == [("someone/vilt", "vilt")]


def test_a_model_that_was_exported_by_hand_is_not_taken_for_a_checkpoint(find: Find, tmp_path: Path) -> None:
    publish(tmp_path / "store", "vilt")
    with pytest.raises(ConfigError, match="exported by hand"):
        find("someone/vilt")
    assert find("vilt").targets == (ModelTarget("vilt", tmp_path / "store"),)


def test_a_note_that_is_damaged_is_told(find: Find, tmp_path: Path) -> None:
    find("someone/vilt")
    (tmp_path / "store" / "sources" / "vilt.json").write_text("{")
    with pytest.raises(ArtifactError, match="remove it"):
        find("someone/vilt")


@pytest.fixture
def find_killed(tmp_path: Path) -> Callable[[str, bool], None]:
    """Look for a checkpoint in a process that is killed in its export, before or after the deployment is there."""

    def find_named(name: str, published: bool) -> None:
        def export(source: str, name: str, repository: Path) -> None:
            if published:
                publish(repository, name, source)
            raise KeyboardInterrupt

        config = load_config({"models.store": str(tmp_path / "store"), "models.serve": name}, {})
        with pytest.raises(KeyboardInterrupt):
            find_models(config, export, tmp_path / "zoo")

    return find_named


def test_an_export_that_outlived_its_server_is_served_by_the_next_one(
    find: Find, find_killed: Callable[[str, bool], None], exporter: Exporter, tmp_path: Path
) -> None:
    find_killed("someone/vilt", True)
    assert find("someone/vilt").targets == (ModelTarget("vilt", tmp_path / "store"),)
    assert exporter.calls == []
    with pytest.raises(ConfigError, match="has one of that name .'someone/vilt'."):
        find("else/vilt")


def test_an_export_that_was_killed_with_its_server_is_done_again(
    find: Find, find_killed: Callable[[str, bool], None], exporter: Exporter
) -> None:
    find_killed("someone/vilt", False)
    find("else/vilt")
    assert exporter.calls == [("else/vilt", "vilt")]
    with pytest.raises(ConfigError, match="has one of that name .'else/vilt'."):
        find("someone/vilt")


def test_a_failed_export_leaves_no_note_that_another_model_could_be_taken_for(find: Find, tmp_path: Path) -> None:
    def export(source: str, name: str, repository: Path) -> None:
        raise ArtifactError("no weights")

    config = load_config({"models.store": str(tmp_path / "store"), "models.serve": "someone/vilt"}, {})
    with pytest.raises(ArtifactError, match="no weights"):
        find_models(config, export, tmp_path / "zoo")
    publish(tmp_path / "store", "vilt")
    with pytest.raises(ConfigError, match="exported by hand"):
        find("someone/vilt")


def test_a_shipped_checkpoint_without_a_deployment_is_exported(find: Find, tmp_path: Path, exporter: Exporter) -> None:
    checkpoint = tmp_path / "zoo" / "checkpoints" / "raw"
    checkpoint.mkdir(parents=True)
    assert find("raw").targets == (ModelTarget("raw", tmp_path / "store"),)
    assert exporter.calls == [(str(checkpoint), "raw")]


def test_an_export_that_leaves_nothing_is_a_fault(tmp_path: Path) -> None:
    config = load_config({"models.store": str(tmp_path / "store"), "models.serve": "someone/vilt"}, {})
    with pytest.raises(ArtifactError, match="left no deployment 'vilt'"):
        find_models(config, lambda source, name, repository: None, tmp_path / "zoo")


def test_the_export_extra_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_child.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"install vlpserve\[export\]"):
        export_child.export_checkpoint("someone/vilt", "vilt", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_the_child_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export_child.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(export_child, "_MODULE", "no_such_module_anywhere")
    with pytest.raises(ArtifactError, match="failed with exit code 1"):
        export_child.export_checkpoint("someone/vilt", "vilt", tmp_path / "store")
    told = capfd.readouterr()
    assert told.out == ""
    assert "exporting someone/vilt" in told.err
    assert "no_such_module_anywhere" in told.err
