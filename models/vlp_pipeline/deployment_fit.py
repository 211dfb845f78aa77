"""A deployment's graphs must take what its processors give, and give what its assets name."""

from __future__ import annotations

from collections.abc import Mapping

from vlp_spec.deployment import Deployment
from vlp_spec.errors import ArtifactError


def check_axes(deployment: Deployment, sizes: Mapping[str, int]) -> None:
    """Refuse processors that give more than the graphs take.

    Args:
        deployment: of the graphs.
        sizes: dynamic axis -> the largest size that a processor gives.

    Raises:
        ArtifactError: an axis ends before that.
    """
    for axis, size in sizes.items():
        limit = deployment.axes.get(axis)
        if limit is not None and limit.max < size:
            raise ArtifactError(
                f"deployment {deployment.name}@{deployment.version}: axis {axis!r} ends at {limit.max}, "
                f"its processor gives up to {size}"
            )


def check_width(deployment: Deployment, output: str, width: int, told: str) -> None:
    """Refuse names of a graph's outputs that are not as many as the outputs.

    Args:
        deployment: of the graph.
        output: that is named.
        width: numbers that a row of it should have.
        told: what says so, for the message.

    Raises:
        ArtifactError: the graph gives another number.
    """
    for spec in (spec for graph in deployment.graphs for spec in graph.outputs):
        if spec.name == output and isinstance(spec.shape[-1], int) and spec.shape[-1] != width:
            place = f"deployment {deployment.name}@{deployment.version}"
            raise ArtifactError(f"{place}: {told}, the graph {spec.shape[-1]}")
