"""What an engine is: a thing that holds graphs and runs arrays through them. It knows no request, queue or picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray
from vlp_spec.deployment import AxisLimit, GraphRef

Feeds = Mapping[str, NDArray[Any]]
Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class LoadedGraph:
    """A graph for an engine to load; its files are verified already.

    Attributes:
        key: what `run` calls it; one engine may hold several graphs.
        ref: its names, inputs and outputs, from the manifest.
        directory: the version folder with the graph's files; unused by engines that need none.
        axes: dynamic axis -> its limits.
    """

    key: str
    ref: GraphRef
    directory: Path
    axes: Mapping[str, AxisLimit]


class Engine(Protocol):
    """Five methods, all blocking; the core calls them from threads of its own, never from the event loop.

    `run` may be called by several threads at a time. `ready` and `close` return at once and may be called while a
    `run` is under way, from any thread.
    """

    def load(self, graph: LoadedGraph) -> None:
        """Make the graph ready to run under its key.

        Raises:
            ArtifactError: the file is missing, broken, not what the manifest says, or does not fit in memory.
            ConfigError: the device asked for is not there.
        """

    def run(self, key: str, feeds: Feeds) -> Outputs:
        """Compute one batch.

        Args:
            key: of a loaded graph.
            feeds: every input of the graph, batch first, with dtypes and shapes of its specs. Not modified.

        Returns:
            Every output of the graph, batch first; the arrays belong to the caller.

        Raises:
            InternalError: no graph of this key is loaded.
            Exception: whatever the run-time library raises; the caller takes it as a failure of this batch.
        """

    def unload(self, key: str) -> None:
        """Forget a graph and free its memory; nothing happens when it is not loaded."""

    def ready(self, key: str) -> bool:
        """Whether the graph is loaded. It says nothing about right answers: that is the canary's business."""

    def close(self) -> None:
        """Unload everything; `run` raises afterwards. May be called twice."""
