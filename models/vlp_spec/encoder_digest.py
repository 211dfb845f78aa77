"""What decides which outputs an input has, as one digest: only where it is equal can vectors be compared."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from vlp_spec.deployment import Deployment
from vlp_spec.repository import CANARY_ASSET


def encoder_digest(deployment: Deployment) -> str:
    """sha256 in hex of graphs, assets and processors.

    The same for every export that came out the same, whatever it is called and whichever version it is. The canary is
    left out: it is there to be checked, and decides nothing.
    """
    graphs = {
        ref.role: {path.partition("/")[2] or path: digest for path, digest in ref.files.items()}
        for ref in deployment.graphs
    }
    assets = {name: digest for name, digest in deployment.assets.items() if name != CANARY_ASSET}
    return digest_of_parts([deployment.family, deployment.image, deployment.text, deployment.head, assets, graphs])


def digest_of_parts(parts: list[Any]) -> str:
    """sha256 in hex of plain JSON values; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
