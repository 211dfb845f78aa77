"""Read JSON files of checkpoints with errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vlp_spec.errors import ArtifactError


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        ArtifactError: it is missing, unreadable, or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ArtifactError(f"{path}: not JSON in UTF-8: {error}") from error


def read_json_object(path: Path) -> dict[str, Any]:
    """Parse a JSON file that holds an object.

    Raises:
        ArtifactError: it cannot be read, or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise ArtifactError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content
