"""What an engine is: a thing that holds graphs and runs arrays through them. It knows no request, queue or picture."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray
from vlp_spec.deployment import AxisLimit, GraphRef
from vlp_spec.tasks import Lane, Task

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


@dataclass(frozen=True, slots=True)
class HostedModel:
    """What another process calls a graph or a task, and in which version.

    Attributes:
        required: whether it is asked from here. One that is not is managed along with the others, where it is there.
    """

    name: str
    version: int
    required: bool = True


class Runner(Protocol):
    """The part of an engine that a canary needs."""

    def run(self, key: str, feeds: Feeds) -> Outputs:
        """See Engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTerms:
    """How a call to another process ranks.

    Attributes:
        timeout_s: after which nobody waits for it any more; above 0.
        lane: bulk work waits behind interactive work there, too.
    """

    timeout_s: float
    lane: Lane = Lane.INTERACTIVE


@runtime_checkable
class RemoteEngine(Engine, Protocol):
    """An engine whose graphs run in another process, which makes batches itself, and may go away and come back.

    `load` notes a graph and looks at nothing; `ready` says whether one can be run now. `run` may be called from any
    thread but that of the event loop.
    """

    def attach(
        self, loop: asyncio.AbstractEventLoop, prove: Callable[[Runner], None], task_models: Sequence[HostedModel] = ()
    ) -> None:
        """Begin to look after the other process, once all graphs are noted. Called from any thread.

        Args:
            loop: on which `infer` is awaited; it runs.
            task_models: what the other process must have besides the graphs, if it is required.
            prove: blocking; runs every graph's canary, or raises. Nothing is run before it has passed, and it is asked
                again when the other process has been away.
        """

    async def infer(self, key: str, feeds: Feeds, terms: CallTerms) -> Outputs:
        """As `run`, on the event loop. Being cancelled gives the call up there, too.

        Raises:
            UnavailableError, OverloadedError, DeadlineError: nobody is there, is free, or was in time.
            InferenceError: the graph failed on these feeds.
        """

    def why_not_ready(self) -> str | None:
        """Why no graph can be run now, safe to show; None where they can."""

    def disproved(self) -> bool:
        """Whether it was asked and gave wrong answers, wherever it could be asked: waiting is of little use then."""

    async def check(self) -> None:
        """Run the canaries again wherever it can be asked.

        A place where they are wrong is asked no more until it has proved itself again, and `found_wrong` tells of it.
        """

    def found_wrong(self) -> list[str]:
        """What was found wrong since this was last asked, safe to show, for each place; by whoever looked."""

    def places(self) -> Mapping[str, bool]:
        """Each address, and whether it is asked now; for metrics."""


@dataclass(frozen=True, slots=True)
class TaskCall:
    """A whole task for one who does whole tasks.

    Attributes:
        model: deployment.
        version: of the deployment.
        images: encoded pictures.
        texts: questions, hypotheses, labels and so on; the beginning of a caption.
        options: further fields as in the HTTP API.
    """

    task: Task
    model: str
    version: int
    images: Sequence[bytes]
    texts: Sequence[str]
    options: Mapping[str, Any]


@runtime_checkable
class TaskServer(Protocol):
    """A remote engine that also does whole tasks: for models that hold more about a picture than should travel."""

    async def ask(self, call: TaskCall, terms: CallTerms) -> list[bytes]:
        """Do a task. Returns one result in JSON for each text; errors as of the service that does it."""

    def stream(self, call: TaskCall, terms: CallTerms) -> AsyncGenerator[bytes | str]:
        """Write a caption: pieces of text as str, and last the result in JSON as bytes; errors as `ask`."""
