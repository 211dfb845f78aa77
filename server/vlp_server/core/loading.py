"""From a model's settings to a model that has proved itself. Blocking; runs in the loader's thread."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlp_pipeline.images import ImageLimits
from vlp_pipeline.pipeline import Item, VqaPipeline
from vlp_pipeline.registry import build_pipeline
from vlp_pipeline.text import TextLimits
from vlp_spec.deployment import Deployment
from vlp_spec.errors import ArtifactError, InferenceError
from vlp_spec.found_deployment import digest_of, find_deployment

from vlp_server.core.bisection import RowOutputs, run_bisecting
from vlp_server.core.canary import Canary
from vlp_server.core.deployments import read_canary, verify_files
from vlp_server.core.settings import ModelSettings
from vlp_server.engines.base import Engine, LoadedGraph
from vlp_server.engines.dummy_deployment import build_dummy_canary, build_dummy_deployment
from vlp_server.engines.dummy_pipeline import DummyVqaPipeline
from vlp_server.engines.registry import build_engine
from vlp_server.engines.settings import EngineSettings

logger = logging.getLogger(__name__)
EngineFactory = Callable[[EngineSettings], Engine]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model whose graph is in its engine and whose canary came back right.

    Attributes:
        aliases: names that stand for its version.
        digest: of the manifest, hex; a part of the keys of answers.
        image_digest: of what decides how a picture is prepared, hex; a part of the keys of prepared pictures.
        key: of its graph in the engine.
    """

    deployment: Deployment
    aliases: frozenset[str]
    digest: str
    image_digest: str
    pipeline: VqaPipeline
    engine: Engine
    key: str
    canary: Canary

    @property
    def label(self) -> str:
        """name@version."""
        return f"{self.deployment.name}@{self.deployment.version}"

    def compute(self, items: Sequence[Item]) -> list[RowOutputs | InferenceError]:
        """Compute a batch; for an engine thread. See `run_bisecting`."""
        return run_bisecting(items, lambda part: self.engine.run(self.key, self.pipeline.collate(part)))

    def check_canary(self) -> None:
        """Run the canary; for an engine thread. Raises ArtifactError when it does not come back right."""
        self.canary.check(self.engine, self.key)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a model is made of, before its engine."""

    deployment: Deployment
    aliases: frozenset[str]
    digest: str
    pipeline: VqaPipeline
    graph: LoadedGraph
    canary: Canary


def load_model(
    settings: ModelSettings,
    image_limits: ImageLimits,
    text_limits: TextLimits,
    make_engine: EngineFactory = build_engine,
) -> LoadedModel:
    """Find, verify and load a model, and run its canary.

    Raises:
        ArtifactError: it cannot be found, is not whole, does not fit in memory, or its canary is off.
        ConfigError: its engine or device is not there.
    """
    if settings.repository is None:
        parts = _dummy_parts(settings, image_limits, text_limits)
    else:
        parts = _repository_parts(settings, settings.repository, image_limits, text_limits)
    engine = make_engine(settings.engine)
    model = LoadedModel(
        deployment=parts.deployment,
        aliases=parts.aliases,
        digest=parts.digest,
        image_digest=_image_digest(parts.deployment),
        pipeline=parts.pipeline,
        engine=engine,
        key=parts.graph.key,
        canary=parts.canary,
    )
    try:
        engine.load(parts.graph)
        model.check_canary()
    except Exception:
        engine.close()
        raise
    logger.info("loaded %s (%s, engine %s)", model.label, parts.deployment.precision, settings.engine.engine)
    return model


def _repository_parts(
    settings: ModelSettings, repository: Path, image_limits: ImageLimits, text_limits: TextLimits
) -> _Parts:
    found = find_deployment(repository, settings.reference)
    verify_files(found)
    deployment = found.deployment
    if len(deployment.graphs) != 1:
        raise ArtifactError(
            f"deployment {deployment.name}@{deployment.version}: has {len(deployment.graphs)} graphs, this version "
            "serves models of one graph"
        )
    ref = deployment.graphs[0]
    return _Parts(
        deployment=deployment,
        aliases=found.aliases,
        digest=found.digest,
        pipeline=build_pipeline(deployment, found.assets_dir, image_limits, text_limits),
        graph=LoadedGraph(_graph_key(deployment), ref, found.graph_dir(ref), deployment.axes),
        canary=Canary.from_arrays(read_canary(found), deployment.canary_tolerance),
    )


def _dummy_parts(settings: ModelSettings, image_limits: ImageLimits, text_limits: TextLimits) -> _Parts:
    deployment = build_dummy_deployment(settings.reference.partition("@")[0])
    inputs, outputs = build_dummy_canary(deployment)
    return _Parts(
        deployment=deployment,
        aliases=frozenset(),
        digest=digest_of(deployment),
        pipeline=DummyVqaPipeline(deployment, image_limits, text_limits),
        graph=LoadedGraph(_graph_key(deployment), deployment.graphs[0], Path(), deployment.axes),
        canary=Canary(inputs, outputs, deployment.canary_tolerance),
    )


def _graph_key(deployment: Deployment) -> str:
    return f"{deployment.name}@{deployment.version}/{deployment.graphs[0].role}"


def _image_digest(deployment: Deployment) -> str:
    settings = json.dumps([deployment.family, deployment.image], sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()
