"""Open a config.json by the class of transformers that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from transformers import PreTrainedConfig
from vlp_spec.errors import ArtifactError

Config = TypeVar("Config", bound=PreTrainedConfig)


def transformers_config(kind: type[Config], values: Mapping[str, Any], path: Path) -> Config:
    """Build a configuration of transformers, whose own checks raise errors of several libraries.

    Args:
        kind: the class.
        values: content of the file.
        path: of the file, for the error.

    Raises:
        ArtifactError: a value that the class refuses.
    """
    try:
        return kind.from_dict(dict(values))
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
        raise ArtifactError(f"{path}: not a configuration of {kind.model_type}: {reason:.300}") from error
