from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from vlp_export.publish import StagedDeployment, publish
from vlp_export.staging import STAGING_DIR, staging_folder
from vlp_spec.deployment_json import parse_deployment
from vlp_spec.errors import ArtifactError
from vlp_spec.repository import RepositoryLayout

from .conftest import stage

STEPS = ("rename", "fsync", "mkdir", "open")


def published(root: Path) -> dict[str, list[int]]:
    """Deployments whose manifest is there, after a check that each is whole."""
    found: dict[str, list[int]] = {}
    layout = RepositoryLayout(root)
    for manifest in sorted(layout.deployments_dir.glob("*/*.json")):
        deployment = parse_deployment(manifest.read_text())
        assert (layout.assets(deployment.name, deployment.version) / "labels.json").is_file()
        for graph in deployment.graphs:
            assert layout.graph_file(graph, "model.onnx").read_bytes()
            assert (layout.graph_dir(graph.name) / "config.pbtxt").is_file()
        found.setdefault(deployment.name, []).append(deployment.version)
    return found


def leftovers(root: Path) -> list[str]:
    """Everything in the repository that is neither published nor a lock."""
    layout = RepositoryLayout(root)
    versions = {str(v) for versions in published(root).values() for v in versions}
    folders = [*layout.graphs_dir.glob("*/[0-9]*"), *layout.deployments_dir.glob("*/[0-9]*")]
    orphans = [str(path) for path in folders if path.stem not in versions]
    return orphans + [str(path) for path in (root / STAGING_DIR).glob("*")]


def test_a_version_is_the_next_free_one(tmp_path: Path) -> None:
    for expected in (1, 2, 3):
        with staging_folder(tmp_path) as folder:
            assert publish(tmp_path, stage(folder)).version == expected
    assert published(tmp_path) == {"tiny": [1, 2, 3]}
    assert leftovers(tmp_path) == []


def test_a_taken_version_is_refused(tmp_path: Path) -> None:
    with staging_folder(tmp_path) as folder:
        publish(tmp_path, stage(folder), version=4)
    with staging_folder(tmp_path) as folder, pytest.raises(ArtifactError, match="tiny@4 exists already"):
        publish(tmp_path, stage(folder), version=4)
    with staging_folder(tmp_path) as folder, pytest.raises(ArtifactError, match="expected 1 or more"):
        publish(tmp_path, stage(folder), version=0)
    assert published(tmp_path) == {"tiny": [4]}


def test_an_operators_config_is_kept_and_another_interface_refused(tmp_path: Path) -> None:
    with staging_folder(tmp_path) as folder:
        publish(tmp_path, stage(folder))
    config = tmp_path / "model_repository" / "tiny-fp32" / "config.pbtxt"
    tuned = config.read_text().replace("count: 1", "count: 3")
    config.write_text(tuned)
    with staging_folder(tmp_path) as folder:
        publish(tmp_path, stage(folder))
    assert config.read_text() == tuned
    config.write_text("# by hand\n" + tuned)
    with staging_folder(tmp_path) as folder, pytest.raises(ArtifactError, match="--name"):
        publish(tmp_path, stage(folder))
    config.unlink()
    with staging_folder(tmp_path) as folder, pytest.raises(ArtifactError, match=r"no config\.pbtxt"):
        publish(tmp_path, stage(folder))
    assert len(published_manifests(tmp_path)) == 2


def published_manifests(root: Path) -> list[Path]:
    return sorted((root / "deployments").glob("*/*.json"))


def failing_calls(monkeypatch: pytest.MonkeyPatch, after: int) -> dict[str, int]:
    """Let `after` disk operations of a publication pass and fail the next one."""
    counter = {"calls": 0}

    def wrap(name: str) -> None:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            counter["calls"] += 1
            if counter["calls"] == after + 1:
                raise OSError(28, f"no space left ({name})")
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    for name in STEPS:
        wrap(name)
    return counter


def count_steps(root: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    with staging_folder(root) as folder, monkeypatch.context() as patch:
        staged = stage(folder)
        counter = failing_calls(patch, after=10**9)
        publish(root, staged)
    return counter["calls"]


def test_a_failing_disk_publishes_nothing_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = count_steps(tmp_path / "count", monkeypatch)
    assert steps > 10
    published_without_notice = 0
    for after in range(steps):
        root = tmp_path / f"r{after}"
        with staging_folder(root) as folder, monkeypatch.context() as patch:
            staged = stage(folder)
            failing_calls(patch, after)
            # Making a folder that is there already may fail unnoticed; then the publication goes on.
            with suppress(OSError):
                publish(root, staged)
                published_without_notice += 1
        # The last step only makes the manifest's rename durable: the deployment is whole by then.
        assert published(root) in ({}, {"tiny": [1]})
        assert leftovers(root) == []
        with staging_folder(root) as folder:
            publish(root, stage(folder))
        assert "tiny" in published(root)
    assert published_without_notice <= 2


CRASH = """
import os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from conftest import stage
from vlp_export.publish import publish
from vlp_export.staging import staging_folder
calls, after = 0, {after}
def wrap(name):
    real = getattr(os, name)
    def call(*args, **kwargs):
        global calls
        calls += 1
        if calls == after + 1:
            os._exit(9)
        return real(*args, **kwargs)
    setattr(os, name, call)
with staging_folder(Path({root!r})) as folder:
    staged = stage(folder)
    for name in ("rename", "fsync", "mkdir", "open"):
        wrap(name)
    publish(Path({root!r}), staged)
"""


@pytest.mark.parametrize("after", range(0, 26, 3))
def test_a_killed_process_leaves_a_whole_deployment_or_none(tmp_path: Path, after: int) -> None:
    script = CRASH.format(tests=str(Path(__file__).parent), after=after, root=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert done.returncode in (0, 9)
    before = published(tmp_path).get("tiny", [])
    assert before in ([], [1])
    with staging_folder(tmp_path) as folder:
        version = publish(tmp_path, stage(folder)).version
    assert published(tmp_path)["tiny"] == [*before, version]
    assert leftovers(tmp_path) == []


def test_concurrent_exports_take_different_versions(tmp_path: Path) -> None:
    versions: list[int] = []
    start = threading.Barrier(4)

    def export() -> None:
        with staging_folder(tmp_path) as folder:
            staged = stage(folder)
            start.wait(timeout=30)
            versions.append(publish(tmp_path, staged).version)

    threads = [threading.Thread(target=export) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(versions) == [1, 2, 3, 4]
    assert published(tmp_path) == {"tiny": [1, 2, 3, 4]}
    assert leftovers(tmp_path) == []


def test_a_staging_folder_in_use_is_not_cleaned(tmp_path: Path) -> None:
    with staging_folder(tmp_path) as busy:
        other = stage(busy)
        with staging_folder(tmp_path) as folder:
            publish(tmp_path, stage(folder))
        assert (other.assets / "labels.json").is_file()
        assert publish(tmp_path, other).version == 2


def test_a_manifest_that_cannot_be_made_publishes_nothing(staged: StagedDeployment, tmp_path: Path) -> None:
    def refuse(version: int) -> Any:
        raise ArtifactError("no")

    broken = StagedDeployment(staged.name, staged.staging, staged.graphs, staged.assets, refuse)
    with pytest.raises(ArtifactError):
        publish(tmp_path, broken)
    assert published(tmp_path) == {}
    assert not (tmp_path / "model_repository").exists()


def test_a_folder_of_a_process_that_died_at_once_is_cleaned(tmp_path: Path) -> None:
    (tmp_path / STAGING_DIR / "left").mkdir(parents=True)
    with staging_folder(tmp_path) as folder:
        publish(tmp_path, stage(folder))
    assert leftovers(tmp_path) == []


def interrupted(root: Path, text: str) -> Path:
    """A staging folder of a process that is gone, with a journal."""
    folder = root / STAGING_DIR / "left"
    folder.mkdir(parents=True)
    (folder / "journal.json").write_text(text)
    return folder


def export_again(root: Path) -> None:
    with staging_folder(root) as folder:
        publish(root, stage(folder))
    assert leftovers(root) == []


@pytest.mark.parametrize(
    "target",
    [
        "{victim}",
        "../victim",
        "model_repository/../../victim",
        "deployments/..",
        "model_repository",
        "deployments/a",
        "",
    ],
)
def test_a_journal_cannot_name_what_no_publication_moves(tmp_path: Path, target: str) -> None:
    victim, root = tmp_path / "victim", tmp_path / "root"
    for folder in (victim, root / "model_repository" / "kept", root / "deployments" / "a" / "1"):
        folder.mkdir(parents=True)
    noted = {"manifest": "deployments/a/7.json", "targets": ["deployments/a/1", target.format(victim=victim)]}
    interrupted(root, json.dumps(noted))
    with staging_folder(root) as folder:
        publish(root, stage(folder))
    # A journal that is wrong in one place is not obeyed in another.
    for folder in (victim, root / "model_repository" / "kept", root / "deployments" / "a" / "1"):
        assert folder.is_dir()


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "null", "{}", '{"manifest": 1, "targets": []}', '{"manifest": "deployments/a/1.json", "targets": [2]}'],
)
def test_a_journal_of_another_shape_ends_no_export(tmp_path: Path, text: str) -> None:
    interrupted(tmp_path, text)
    export_again(tmp_path)


def test_a_file_among_the_staging_folders_ends_no_export(tmp_path: Path) -> None:
    (tmp_path / STAGING_DIR).mkdir()
    stray = tmp_path / STAGING_DIR / "notes.txt"
    stray.write_text("mine")
    with staging_folder(tmp_path) as folder:
        publish(tmp_path, stage(folder))
    assert stray.read_text() == "mine"


def test_a_copy_that_was_made_during_an_export_takes_back_its_own_part(tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    real = os.rename

    def copy_before_the_manifest(source: Path, target: Path) -> None:
        if Path(target).suffix == ".json":
            shutil.copytree(original, copy)
        real(source, target)

    with staging_folder(original) as folder, pytest.MonkeyPatch.context() as patch:
        staged = stage(folder)
        patch.setattr(os, "rename", copy_before_the_manifest)
        publish(original, staged)
    assert (copy / "model_repository" / "tiny-fp32" / "1" / "model.onnx").is_file()
    # Only the original's manifest says that the publication was finished.
    (original / "deployments" / "tiny" / "1.json").unlink()
    export_again(copy)
    assert (original / "model_repository" / "tiny-fp32" / "1" / "model.onnx").is_file()
