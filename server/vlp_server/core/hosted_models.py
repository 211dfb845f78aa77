"""What is served, as model servers have it: a model for every graph, and one for every task of a deployment.

Graphs are run with arrays that their caller has prepared, through the queues that tasks wait in. A decoder is not among
them: what it needs of a text that is being written never leaves its engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from vlp_pipeline.generative import DECODER_ROLE
from vlp_pipeline.pipeline import Item
from vlp_spec.deployment import AxisLimit, Deployment, GraphRef
from vlp_spec.errors import ArtifactError, InvalidArgumentError, ModelNotFoundError, UnavailableError
from vlp_spec.tasks import Lane, Task
from vlp_spec.tensors import TensorSpec
from vlp_spec.triton_names import task_model_name

from vlp_server.core.batcher import Computed
from vlp_server.core.bisection import RowOutputs
from vlp_server.core.directory import ModelDirectory
from vlp_server.core.fan_out import all_or_first_error
from vlp_server.core.records import ModelState, Timings, longest
from vlp_server.core.request_life import Request, RequestLife, Terms
from vlp_server.core.served_model import ServedModel
from vlp_server.core.urgency import Urgency
from vlp_server.core.usable_model import UsableModel

OPERATION = "graph"
"""What runs of graphs are called in the metrics, where tasks have their names."""
_LOADING_RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class HostedModel:
    """One graph, or one task, of a served model.

    Attributes:
        name: the graph's, or "<deployment>.<task>".
        version: of the graph, or of the deployment.
        deployment: "name@version" that it belongs to.
        part: the graph, or the task.
        max_rows: of the graph's batch axis; 0 for a task, which takes a request as a whole.
        axes: dynamic axis -> its limits.
        state: of the deployment.
        reason: "ready", or why not, safe to show.
    """

    name: str
    version: int
    deployment: str
    part: GraphRef | Task
    max_rows: int
    axes: Mapping[str, AxisLimit]
    state: ModelState
    reason: str


@dataclass(frozen=True, slots=True)
class GraphReply:
    """What a graph gave for the rows of one request, in their order.

    Attributes:
        model: "name@version" of the deployment.
        rows: output -> array without the batch axis, for each row.
        batches: of each row, the size of the batch that it was computed in.
    """

    model: str
    rows: list[RowOutputs]
    batches: tuple[int, ...]
    timings: Timings


class HostedModels:
    """Belongs to the event loop."""

    def __init__(self, directory: ModelDirectory, life: RequestLife) -> None:
        self._directory = directory
        self._life = life

    def all(self) -> list[HostedModel]:
        """Every one, by name and version."""
        found = {(one.name, one.version): one for _, one in self._every()}
        return sorted(found.values(), key=lambda one: (one.name, one.version))

    def versions(self, name: str) -> list[HostedModel]:
        """All versions of one, the lowest first; nothing where there is none."""
        return [one for one in self.all() if one.name == name]

    def find(self, name: str, version: str = "") -> HostedModel:
        """The one that a caller means.

        Args:
            version: as sent; "" means the version that its deployment's name means, or else the highest.

        Raises:
            ModelNotFoundError: there is none.
            UnavailableError: there may be one when what is loading now is there.
        """
        return self._find(name, version)[1]

    async def run_graph(
        self,
        hosted: HostedModel,
        feeds: Mapping[str, NDArray[Any]],
        *,
        deadline: float | None = None,
        lane: Lane = Lane.INTERACTIVE,
    ) -> GraphReply:
        """Compute the rows of a request, each as an item of the graph's queue.

        Args:
            hosted: a graph that `find` gave.
            feeds: every input of the graph, batch first, with dtypes and shapes of its specs; sizes of one axis are
                equal in all of them. Not modified.
            deadline: seconds on the service's clock; None = the default timeout from now.

        Raises:
            VlpError: as the tasks of the service; InferenceError where the graph fails on a row.
        """
        graph = hosted.part
        if not isinstance(graph, GraphRef):
            raise InvalidArgumentError(f"model {hosted.name!r}: is a task, and no graph")
        sizes = sizes_of(graph.inputs, feeds)
        rows = sizes.pop("batch")
        items = [Item({name: array[row] for name, array in feeds.items()}, sizes, graph.role) for row in range(rows)]

        async def work(usable: UsableModel, urgency: Urgency) -> GraphReply:
            computed = await all_or_first_error(items, lambda item: usable.compute(item, urgency))
            return _reply(usable.loaded.label, graph, sizes, computed)

        request = Request(
            operation=OPERATION,
            task=None,
            find=lambda: self._find(hosted.name, str(hosted.version))[0],
            terms=Terms(size_bytes=sum(array.nbytes for array in feeds.values()), deadline=deadline, lane=lane),
        )
        return await self._life.run(request, work)

    def _find(self, name: str, version: str) -> tuple[ServedModel, HostedModel]:
        named = [pair for pair in self._every() if pair[1].name == name]
        found = [pair for pair in named if version in ("", str(pair[1].version))]
        if found:
            return max(found, key=lambda pair: (self._is_current(pair[0]), pair[1].version))
        if not named and any(model.loaded is None and model.state is ModelState.LOADING for model in self._directory):
            raise UnavailableError(
                f"model {name[:128]!r}: not there, or not yet: models are loading", retry_after_s=_LOADING_RETRY_S
            )
        wanted = f"{name[:128]!r} version {version[:20]!r}" if version else f"{name[:128]!r}"
        raise ModelNotFoundError(f"model {wanted}: not served here; /v2/repository/index lists what is")

    def _is_current(self, model: ServedModel) -> bool:
        loaded = model.loaded
        return loaded is not None and self._directory.current(loaded.deployment.name) is model

    def _every(self) -> Iterator[tuple[ServedModel, HostedModel]]:
        for model in self._directory:
            if model.loaded is None:
                continue
            deployment = model.loaded.deployment
            for graph in deployment.graphs:
                if graph.role != DECODER_ROLE:
                    yield model, _hosted(model, deployment, graph.name, graph)
            for task in deployment.tasks:
                if (name := _task_name(deployment, task)) is not None:
                    yield model, _hosted(model, deployment, name, task)


def sizes_of(specs: Sequence[TensorSpec], feeds: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """The size of each named axis, "batch" among them."""
    return {
        axis: size
        for spec in specs
        for axis, size in zip(spec.shape, feeds[spec.name].shape, strict=True)
        if isinstance(axis, str)
    }


def _hosted(model: ServedModel, deployment: Deployment, name: str, part: GraphRef | Task) -> HostedModel:
    batch = deployment.axes.get("batch")
    version, rows = deployment.version, 0
    if isinstance(part, GraphRef):
        version, rows = part.version, 1 if batch is None else batch.max
    return HostedModel(name, version, model.label, part, rows, deployment.axes, model.state, model.reason)


def _task_name(deployment: Deployment, task: Task) -> str | None:
    try:
        return task_model_name(deployment.name, task)
    except ArtifactError:  # too long to be a name: the other doors have the task
        return None


def _reply(label: str, graph: GraphRef, sizes: Mapping[str, int], computed: Sequence[Computed]) -> GraphReply:
    rows = [{spec.name: _cut(one.outputs[spec.name], spec, sizes) for spec in graph.outputs} for one in computed]
    timings = longest([one.timings(postprocess_s=0.0) for one in computed])
    return GraphReply(label, rows, tuple(one.batch_items for one in computed), timings)


def _cut(row: NDArray[Any], spec: TensorSpec, sizes: Mapping[str, int]) -> NDArray[Any]:
    """Without what padding has added along the axes that inputs and output share."""
    return row[tuple(slice(sizes.get(axis) if isinstance(axis, str) else None) for axis in spec.shape[1:])]
