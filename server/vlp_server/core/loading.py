"""From a model's settings to a model that has proved itself. Blocking; runs in the loader's thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlp_pipeline.images import ImageLimits
from vlp_pipeline.pipeline import Item
from vlp_pipeline.registry import Pipeline, build_pipeline
from vlp_pipeline.text import TextLimits
from vlp_spec.deployment import Deployment, GraphRef
from vlp_spec.encoder_digest import digest_of_parts, encoder_digest
from vlp_spec.errors import ArtifactError, InferenceError, InternalError
from vlp_spec.found_deployment import digest_of, find_deployment
from vlp_spec.triton_names import task_model_name

from vlp_server.core.bisection import RowOutputs, run_bisecting
from vlp_server.core.canary import Canary
from vlp_server.core.deployments import read_canary, verify_files
from vlp_server.core.settings import ModelSettings
from vlp_server.engines.base import Engine, HostedModel, LoadedGraph, RemoteEngine, Runner, TaskServer
from vlp_server.engines.dummy_deployment import build_dummy_canary, build_dummy_deployment
from vlp_server.engines.dummy_pipeline import build_dummy_pipeline
from vlp_server.engines.registry import build_engine
from vlp_server.engines.settings import EngineSettings

logger = logging.getLogger(__name__)
EngineFactory = Callable[[EngineSettings], Engine]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model whose graphs are in its engine and whose canary came back right; of a remote engine `ready` says when.

    Attributes:
        aliases: names that stand for its version.
        digest: of the manifest, hex; a part of the keys of answers and vectors.
        image_digest: of what decides how a picture is prepared, hex; a part of the keys of prepared pictures.
        encoder_digest: of what decides which outputs an input has, hex: graphs, assets and processors. The same for
            every export of a checkpoint that came out the same, whatever it is called.
        pipeline: for the deployment's tasks, as the registry of pipelines says.
        keys: role -> what its graph is called in the engine.
        canary: of all graphs.
    """

    deployment: Deployment
    aliases: frozenset[str]
    digest: str
    image_digest: str
    encoder_digest: str
    pipeline: Pipeline
    engine: Engine
    keys: Mapping[str, str]
    canary: Canary

    @property
    def label(self) -> str:
        """name@version."""
        return f"{self.deployment.name}@{self.deployment.version}"

    def compute(self, items: Sequence[Item]) -> list[RowOutputs | InferenceError]:
        """Compute a batch of items of one role; for an engine thread. See `run_bisecting`."""
        key = self.keys[items[0].role]
        return run_bisecting(items, lambda part: self.engine.run(key, self.pipeline.collate(part)))

    @property
    def remote(self) -> RemoteEngine | None:
        """The engine, where it is one that may go away and come back."""
        return self.engine if isinstance(self.engine, RemoteEngine) else None

    @property
    def tasks_there(self) -> TaskServer | None:
        """Who does whole tasks of this model: its engine, where more is seen in a picture than should travel."""
        return self.engine if self.is_staged and isinstance(self.engine, TaskServer) else None

    @property
    def is_staged(self) -> bool:
        """Whether the model sees a picture by itself first, and holds what it saw."""
        return hasattr(self.pipeline, "vision_item")

    def check_canary(self, role: str, runner: Runner | None = None) -> None:
        """Run the canary of a graph, in the engine or elsewhere; for a thread.

        Raises:
            ArtifactError: it does not come back right.
            CapacityError: a remote engine cannot be asked now.
        """
        self.canary.part(self.deployment.graph(role)).check(runner or self.engine, self.keys[role])


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a model is made of, before its engine."""

    deployment: Deployment
    aliases: frozenset[str]
    digest: str
    pipeline: Pipeline
    graphs: Sequence[LoadedGraph]
    canary: Canary


def load_model(
    settings: ModelSettings,
    image_limits: ImageLimits,
    text_limits: TextLimits,
    make_engine: EngineFactory = build_engine,
    loop: asyncio.AbstractEventLoop | None = None,
) -> LoadedModel:
    """Find, verify and load a model, and run its canary; a remote engine runs it when it can.

    Args:
        loop: on which a remote engine is asked.

    Raises:
        ArtifactError: it cannot be found, is not whole, does not fit in memory, or its canary is off.
        ConfigError: its engine or device is not there.
    """
    engine = make_engine(settings.engine)
    try:
        model = _assemble(settings, image_limits, text_limits, engine)
        if isinstance(engine, RemoteEngine):
            _attach(model, engine, loop)
        else:
            for role in model.keys:
                model.check_canary(role)
    except Exception:
        engine.close()
        raise
    logger.info("loaded %s (%s, engine %s)", model.label, model.deployment.precision, settings.engine.engine)
    return model


def _assemble(
    settings: ModelSettings, image_limits: ImageLimits, text_limits: TextLimits, engine: Engine
) -> LoadedModel:
    """A model whose graphs are in the engine, not proved yet."""
    if settings.repository is None:
        parts = _dummy_parts(settings, image_limits, text_limits)
    else:
        graphs_are_here = not isinstance(engine, RemoteEngine)
        parts = _repository_parts(settings, settings.repository, image_limits, text_limits, graphs_are_here)
    for graph in parts.graphs:
        engine.load(graph)
    return LoadedModel(
        deployment=parts.deployment,
        aliases=parts.aliases,
        digest=parts.digest,
        image_digest=_image_digest(parts.deployment),
        encoder_digest=encoder_digest(parts.deployment),
        pipeline=parts.pipeline,
        engine=engine,
        keys={graph.ref.role: graph.key for graph in parts.graphs},
        canary=parts.canary,
    )


def _attach(model: LoadedModel, engine: RemoteEngine, loop: asyncio.AbstractEventLoop | None) -> None:
    if loop is None:
        raise InternalError(detail=f"{model.label}: a remote engine needs an event loop")
    deployment = model.deployment
    task_models = _task_models(deployment, required=model.tasks_there is not None)

    def prove(runner: Runner) -> None:
        for role in model.keys:
            model.check_canary(role, runner)

    engine.attach(loop, prove, task_models)


def _task_models(deployment: Deployment, *, required: bool) -> list[HostedModel]:
    """What does the deployment's tasks elsewhere, asked from here or not; what has no name there has no such model."""
    found = []
    for task in deployment.tasks:
        try:
            found.append(HostedModel(task_model_name(deployment.name, task), deployment.version, required))
        except ArtifactError:
            if required:
                raise
    return found


def _repository_parts(
    settings: ModelSettings,
    repository: Path,
    image_limits: ImageLimits,
    text_limits: TextLimits,
    graphs_are_here: bool,
) -> _Parts:
    found = find_deployment(repository, settings.reference)
    verify_files(found, graphs_are_here=graphs_are_here)
    deployment = found.deployment
    roles = [ref.role for ref in deployment.graphs]
    if not roles or len(set(roles)) != len(roles):
        raise ArtifactError(
            f"deployment {deployment.name}@{deployment.version}: its graphs have the roles {roles}, expected at least "
            "one, and each once"
        )
    return _Parts(
        deployment=deployment,
        aliases=found.aliases,
        digest=found.digest,
        pipeline=build_pipeline(deployment, found.assets_dir, image_limits, text_limits),
        graphs=[
            LoadedGraph(_graph_key(deployment, ref), ref, found.graph_dir(ref), deployment.axes)
            for ref in deployment.graphs
        ],
        canary=Canary.from_arrays(read_canary(found), deployment.canary_tolerance),
    )


def _dummy_parts(settings: ModelSettings, image_limits: ImageLimits, text_limits: TextLimits) -> _Parts:
    deployment = build_dummy_deployment(settings.reference.partition("@")[0])
    inputs, outputs = build_dummy_canary(deployment)
    return _Parts(
        deployment=deployment,
        aliases=frozenset(),
        digest=digest_of(deployment),
        pipeline=build_dummy_pipeline(deployment, image_limits, text_limits),
        graphs=[LoadedGraph(_graph_key(deployment, ref), ref, Path(), deployment.axes) for ref in deployment.graphs],
        canary=Canary(inputs, outputs, deployment.canary_tolerance),
    )


def _graph_key(deployment: Deployment, ref: GraphRef) -> str:
    return f"{deployment.name}@{deployment.version}/{ref.role}"


def _image_digest(deployment: Deployment) -> str:
    return digest_of_parts([deployment.family, deployment.image])
