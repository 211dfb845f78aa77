from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from vlp_models.checkpoints import hub, load_checkpoint, save_checkpoint
from vlp_models.families.vilt import ViltModel
from vlp_spec.errors import ArtifactError


@pytest.fixture
def published(tmp_path: Path, model: ViltModel, tokenizer: str, image: dict[str, Any]) -> Path:
    directory = tmp_path / "hub"
    save_checkpoint(directory, model, tokenizer=tokenizer, image=image, labels=("a", "b", "c"))
    return directory


def test_a_hub_id_is_fetched_and_read(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str | None, list[str]]] = []

    def download(repo_id: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        calls.append((repo_id, revision, allow_patterns))
        return str(published)

    monkeypatch.setattr(hub, "snapshot_download", download)
    loaded = load_checkpoint("someone/vilt", revision="v2")
    assert loaded.source == "someone/vilt@v2"
    assert loaded.labels == ("a", "b", "c")
    patterns = ["*.json", "vocab.txt", "merges.txt", "spiece.model", "model*.safetensors"]
    assert calls == [("someone/vilt", "v2", patterns)]


def test_torch_files_are_fetched_only_where_nothing_safer_is(
    tmp_path: Path, published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file

    def download(_repo_id: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        assert revision is None
        local = tmp_path / f"snapshot-{len(allow_patterns)}-{allow_patterns[-1].split('.')[-1]}"
        shutil.copytree(published, local)
        (local / "model.safetensors").unlink()
        if "pytorch_model.bin" in allow_patterns:
            torch.save(load_file(published / "model.safetensors"), local / "pytorch_model.bin")
        return str(local)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert load_checkpoint("someone/vilt").source == "someone/vilt"


def _http_error(kind: type[Exception]) -> Exception:
    response = httpx.Response(404, request=httpx.Request("GET", "http://localhost/"))
    return kind("no", response=response)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (_http_error(RepositoryNotFoundError), "no such path here, and no such checkpoint on the hub"),
        (_http_error(GatedRepoError), "needs its owner's consent"),
        (_http_error(RevisionNotFoundError), "no revision 'v9'"),
        (LocalEntryNotFoundError("offline"), "the hub cannot be reached.*give a local directory"),
        (httpx.ConnectError("refused"), r"the hub cannot be reached \(ConnectError\)"),
    ],
)
def test_every_failure_says_what_to_do(error: Exception, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> str:
        raise error

    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(ArtifactError, match=words):
        load_checkpoint("someone/vilt", revision="v9")


def test_a_path_that_is_no_hub_id_either() -> None:
    with pytest.raises(ArtifactError, match="neither an existing path nor a hub id"):
        load_checkpoint("/nowhere/at/all")


def test_a_directory_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no config.json in it"):
        load_checkpoint(tmp_path)
