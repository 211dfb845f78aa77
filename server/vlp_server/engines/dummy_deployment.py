"""The dummy deployments: manifests in memory that need no file, so that `serve dummy` works anywhere.

The end of a name says what the model does, and any name with such an end is a further one of its kind: "-encoder" makes
vectors of pictures and of texts, "-matcher" says how well a text fits a picture, "-entailment", "-reasoning" and
"-grounding" do what they are called, "-captioner" writes, "-extractor" finds regions; all others answer questions. A
model with "-reader" in its name reads the regions that "dummy-extractor" finds, in place of pictures: "dummy-reader"
answers questions about them, "dummy-reader-grounding" finds phrases among them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from vlp_pipeline.generative import CROSS_ROLE, DECODER_ROLE, VISION_ROLE
from vlp_pipeline.pipeline import PAIR_PREFIXES
from vlp_pipeline.region_settings import RegionSettings
from vlp_spec.deployment import AxisLimit, Deployment, GraphRef, OutputProof, Proof
from vlp_spec.encoder_digest import encoder_digest
from vlp_spec.tasks import MAX_BEAMS, Task
from vlp_spec.tensors import TensorSpec

from vlp_server.engines.base import Feeds, LoadedGraph, Outputs
from vlp_server.engines.dummy import DummyEngine
from vlp_server.engines.settings import EngineSettings

DUMMY_FAMILY = "dummy"
DUMMY_NAMES = (
    "dummy",
    "dummy-encoder",
    "dummy-matcher",
    "dummy-entailment",
    "dummy-reasoning",
    "dummy-grounding",
    "dummy-captioner",
    "dummy-extractor",
    "dummy-reader",
)
DUMMY_LABELS = ("yes", "no", "red", "green", "blue", "one", "two", "three", "cat", "dog", "left", "right")
DUMMY_JUDGEMENTS = ("entailment", "neutral", "contradiction")
DUMMY_DIMENSION = 16
DUMMY_REGIONS = 6
DUMMY_REGION_SIZE = 8
DUMMY_VOCABULARY = 64
CELL_BYTES = 3
_MAX_TEXT = 512
_MAX_PATCHES = 256
_MAX_REGIONS = 100
_STATES, _HEADS, _HEAD_SIZE = 4, 2, 3
_READER = "-reader"
_EXTRACTOR = "dummy-extractor"
_PICTURE = (
    TensorSpec("patches", "uint8", ("batch", "patches", CELL_BYTES)),
    TensorSpec("grid", "int32", ("batch", 2)),
)
_REGIONS = (
    TensorSpec("region_features", "float32", ("batch", "regions", DUMMY_REGION_SIZE)),
    TensorSpec("region_positions", "float32", ("batch", "regions", 7)),
    TensorSpec("region_mask", "int32", ("batch", "regions")),
)
_TEXT = (TensorSpec("input_ids", "int32", ("batch", "text")), TensorSpec("text_mask", "int32", ("batch", "text")))
_AXES = {
    "batch": AxisLimit(1, 8, 64),
    "text": AxisLimit(1, 16, _MAX_TEXT),
    "patches": AxisLimit(1, 64, _MAX_PATCHES),
    "regions": AxisLimit(1, 36, _MAX_REGIONS),
    "beams": AxisLimit(1, 4, MAX_BEAMS),
    "tokens": AxisLimit(1, 1, _MAX_TEXT),
    "past": AxisLimit(1, 32, 2 * _MAX_TEXT),
}


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    """What a model with one graph does, that graph's outputs, and how many pictures it reads together."""

    task: Task
    outputs: tuple[TensorSpec, ...]
    pictures: int = 1


def _output(name: str, *sizes: int) -> TensorSpec:
    return TensorSpec(name, "float32", ("batch", *sizes))


_KINDS: Mapping[str, _Kind] = {
    "-matcher": _Kind(Task.MATCH, (_output("itm", 1),)),
    "-entailment": _Kind(Task.ENTAILMENT, (_output("entailment_logits", len(DUMMY_JUDGEMENTS)),)),
    "-reasoning": _Kind(Task.REASONING, (_output("reasoning_logits", 2),), pictures=2),
    "-grounding": _Kind(
        Task.GROUNDING, (_output("grounding_corners", DUMMY_REGIONS, 4), _output("grounding_logits", DUMMY_REGIONS))
    ),
}
_ASKING = _Kind(Task.VQA, (_output("logits", len(DUMMY_LABELS)),))


def build_dummy_deployment(name: str) -> Deployment:
    """A deployment of the kind that the name says; a patch is the mean colour of a cell of the picture."""
    tasks, graphs = _tasks_and_graphs(name)
    named = {axis for graph in graphs for spec in graph.inputs for axis in spec.shape if isinstance(axis, str)}
    return Deployment(
        name=name,
        version=1,
        family=DUMMY_FAMILY,
        tasks=tasks,
        precision="fp32",
        graphs=graphs,
        image=dataclasses.asdict(_region_settings()) if _reads_regions(name) else {"type": DUMMY_FAMILY},
        text={"type": DUMMY_FAMILY, "max_length": _MAX_TEXT},
        axes={axis: _AXES[_without_prefix(axis)] for axis in ("batch", "text", *sorted(named - {"batch", "text"}))},
        assets={},
        proof=Proof(
            outputs=tuple(OutputProof(spec.name, 0.0, 0.0, 0.0, 0.0) for graph in graphs for spec in graph.outputs),
            samples=1,
            agreement=1.0,
            min_agreement=1.0,
        ),
        canary_tolerance=0.0,
        source={"id": DUMMY_FAMILY},
        producers={},
        created="1970-01-01T00:00:00Z",
    )


def build_dummy_canary(deployment: Deployment) -> tuple[Feeds, Outputs]:
    """Inputs and the outputs that an undisturbed dummy engine gives for them, of all graphs together."""
    feeds: Feeds = {spec.name: _known_input(spec) for graph in deployment.graphs for spec in graph.inputs}
    engine = DummyEngine(EngineSettings(engine="dummy"))
    outputs: Outputs = {}
    for graph in deployment.graphs:
        engine.load(LoadedGraph(graph.role, graph, Path(), deployment.axes))
        outputs |= engine.run(graph.role, {spec.name: feeds[spec.name] for spec in graph.inputs})
    return feeds, outputs


def _tasks_and_graphs(name: str) -> tuple[tuple[Task, ...], tuple[GraphRef, ...]]:
    if name.endswith("-encoder"):
        return (Task.EMBEDDINGS, Task.CLASSIFY), (
            _graph(name, "image", _PICTURE, (_output("image_embeds", DUMMY_DIMENSION),)),
            _graph(name, "text", _TEXT, (_output("text_embeds", DUMMY_DIMENSION),)),
        )
    if name.endswith("-extractor"):
        rois = (_output("rois", DUMMY_REGIONS, 4),)
        found = (_output("region_features", DUMMY_REGIONS, DUMMY_REGION_SIZE), _output("region_logits", DUMMY_REGIONS))
        return (Task.REGIONS,), (
            _graph(name, "backbone", _PICTURE, (_output("corners", DUMMY_REGIONS, 4),)),
            _graph(name, "roi-head", rois, found),
        )
    if name.endswith("-captioner"):
        return (Task.CAPTION,), _writing_graphs(name)
    kind = next((kind for end, kind in _KINDS.items() if name.endswith(end)), _ASKING)
    seen = _REGIONS if _reads_regions(name) else _PICTURE
    prefixes = ("",) if kind.pictures == 1 else PAIR_PREFIXES
    inputs = tuple(_prefixed(spec, prefix) for prefix in prefixes for spec in seen)
    return (kind.task,), (_graph(name, "fusion", inputs + _TEXT, kind.outputs),)


def _writing_graphs(name: str) -> tuple[GraphRef, ...]:
    states, head = (_STATES, _HEADS * _HEAD_SIZE), (_HEADS, _STATES, _HEAD_SIZE)
    kinds = ("key", "value")
    past = [TensorSpec(f"past_{kind}_0", "float32", ("batch", "beams", _HEADS, "past", _HEAD_SIZE)) for kind in kinds]
    new = [TensorSpec(f"new_{kind}_0", "float32", ("batch", "beams", _HEADS, "tokens", _HEAD_SIZE)) for kind in kinds]
    words = (
        TensorSpec("input_ids", "int32", ("batch", "beams", "tokens")),
        TensorSpec("past_lengths", "int32", ("batch",)),
    )
    logits = TensorSpec("logits", "float32", ("batch", "beams", "tokens", DUMMY_VOCABULARY))
    return (
        _graph(name, VISION_ROLE, _PICTURE, (_output("image_states", *states),)),
        _graph(
            name,
            CROSS_ROLE,
            (_output("seen_states", *states),),
            tuple(_output(f"cross_{kind}_0", *head) for kind in kinds),
        ),
        _graph(
            name,
            DECODER_ROLE,
            (*words, *past, *(_output(f"at_{kind}_0", *head) for kind in kinds)),
            (logits, *new),
        ),
    )


def _reads_regions(name: str) -> bool:
    return _READER in name


def _region_settings() -> RegionSettings:
    return RegionSettings(
        region_size=DUMMY_REGION_SIZE,
        max_regions=_MAX_REGIONS,
        extractor=_EXTRACTOR,
        extractor_digest=encoder_digest(build_dummy_deployment(_EXTRACTOR)),
    )


def _graph(name: str, role: str, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> GraphRef:
    return GraphRef(
        role=role, name=f"{name}-{role}", version=1, backend="dummy", files={}, inputs=inputs, outputs=outputs
    )


def _prefixed(spec: TensorSpec, prefix: str) -> TensorSpec:
    """An input of one of two pictures; its dynamic axes but the batch are that picture's own."""
    shape = tuple(axis if isinstance(axis, int) or axis == "batch" else f"{prefix}{axis}" for axis in spec.shape)
    return TensorSpec(f"{prefix}{spec.name}", spec.dtype, shape)


def _without_prefix(axis: str) -> str:
    return next((axis.removeprefix(prefix) for prefix in PAIR_PREFIXES if axis.startswith(prefix)), axis)


def _known_input(spec: TensorSpec) -> np.ndarray:
    """Two rows of small numbers, three entries long where the length is free."""
    shape = tuple(2 if axis == "batch" else 3 if isinstance(axis, str) else axis for axis in spec.shape)
    return (np.arange(1, 1 + np.prod(shape)) % 251).reshape(shape).astype(spec.dtype)
