"""Fetch checkpoint directories from the Hugging Face hub: settings and safetensors, never code."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.weight_files import TORCH

_SETTINGS = ["*.json", "vocab.txt", "merges.txt", "spiece.model"]
_WEIGHTS = ["model*.safetensors"]


def fetch_from_hub(repo_id: str, revision: str | None = None) -> Path:
    """Download what a checkpoint needs, or take it from the local cache.

    pytorch_model.bin is fetched only where there is no safetensors file; it is read as tensors only.

    Args:
        repo_id: "name" or "organisation/name".
        revision: branch, tag or commit; the default branch if None.

    Returns:
        the local directory.

    Raises:
        ArtifactError: no such id, revision or right to read it, or no network and nothing in the cache.
    """
    directory = _fetch(repo_id, revision, [*_SETTINGS, *_WEIGHTS])
    if not list(directory.glob("model*.safetensors")):
        directory = _fetch(repo_id, revision, [*_SETTINGS, TORCH])
    return directory


def _fetch(repo_id: str, revision: str | None, patterns: list[str]) -> Path:
    try:
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=patterns))
    except HFValidationError as error:
        raise ArtifactError(f"{repo_id!r}: neither an existing path nor a hub id: {error}") from error
    except GatedRepoError as error:
        raise ArtifactError(f"hub id {repo_id!r}: reading it needs its owner's consent; log in first") from error
    except RevisionNotFoundError as error:
        raise ArtifactError(f"hub id {repo_id!r}: no revision {revision!r}") from error
    except RepositoryNotFoundError as error:
        raise ArtifactError(f"{repo_id!r}: no such path here, and no such checkpoint on the hub") from error
    # Everything else is the network's: each HTTP library of the hub client has exceptions of its own.
    except Exception as error:
        raise ArtifactError(
            f"{repo_id!r}: no such path here, and the hub cannot be reached ({type(error).__name__}); check the name "
            "and the network, or give a local directory",
            detail=str(error),
        ) from error
