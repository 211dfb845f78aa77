"""What Triton tells a Python model when it starts it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path


def parameters_of(args: Mapping[str, str]) -> dict[str, str]:
    """The `parameters` of config.pbtxt, name -> text."""
    config = json.loads(args["model_config"])
    return {name: value["string_value"] for name, value in config.get("parameters", {}).items()}


def repository_of(args: Mapping[str, str]) -> Path:
    """The repository with model_repository/ and deployments/ that a model's folder lies in."""
    return Path(args["model_repository"]).parent.parent
