"""What decides which outputs an input has, as one digest: only where it is equal can vectors be compared."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from vlp_spec.deployment import Deployment


def encoder_digest(deployment: Deployment) -> str:
    """sha256 in hex of graphs, assets and processors: the same for every export that came out the same, whatever it is
    called.
    """
    graphs = {ref.role: dict(ref.files) for ref in deployment.graphs}
    return digest_of_parts(
        [deployment.family, deployment.image, deployment.text, deployment.head, dict(deployment.assets), graphs]
    )


def digest_of_parts(parts: list[Any]) -> str:
    """sha256 in hex of plain JSON values; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
