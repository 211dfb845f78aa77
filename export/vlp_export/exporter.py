"""Checkpoint -> proved deployment of a repository: the whole way, in the order in which it can fail cheaply."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from vlp_models.checkpoints import LoadedCheckpoint, load_checkpoint
from vlp_pipeline.pipeline import Item, VqaPipeline
from vlp_pipeline.registry import build_pipeline
from vlp_spec.deployment import Deployment, GraphRef, OutputProof, Proof, check_name
from vlp_spec.errors import ArtifactError
from vlp_spec.repository import CANARY_ASSET
from vlp_spec.tasks import Task, VqaQuery

from vlp_export.digests import folder_digests, weights_digest
from vlp_export.float16_storage import store_as_float16
from vlp_export.int8 import quantize_rows
from vlp_export.onnx_graph import export_graph, save_graph
from vlp_export.operators import check_operators
from vlp_export.plan import Arrays, ExportPlan
from vlp_export.plans import plan_export
from vlp_export.progress import Progress, Stage, no_progress
from vlp_export.proof import TOLERANCES, ProofSample, SampleBatch, check_proof, prove
from vlp_export.publish import StagedDeployment, StagedGraph, publish
from vlp_export.samples import dataset_samples, made_up_samples
from vlp_export.session import Runner, onnx_runner
from vlp_export.staging import staging_folder
from vlp_export.tensorrt_engine import EngineSettings, build_engine, load_tensorrt
from vlp_export.tensorrt_profile import profile_shapes
from vlp_export.tensorrt_runner import engine_runner
from vlp_export.triton_config import GraphInterface

FORMATS = ("onnx", "tensorrt")
_PRODUCERS = ("vlpserve", "torch", "onnx", "onnxruntime", "transformers")
_CANARY_SAMPLES = 3
_BATCH = 4


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to make of a checkpoint.

    Attributes:
        name: of the deployment; None takes the checkpoint's folder or file name. A precision other than fp32 and a
            format other than onnx are appended.
        version: None takes the next free one.
        precision: "fp32" or "int8"; a TensorRT engine takes "fp32", "fp16" or "bf16".
        format: "onnx" or "tensorrt".
        proof_samples: how many samples the graph is compared on.
        proof_data: JSONL data set to take them from; None makes them up.
    """

    name: str | None = None
    version: int | None = None
    precision: str = "fp32"
    format: str = "onnx"
    proof_samples: int = 24
    proof_data: Path | None = None
    timing_cache: Path | None = None

    def __post_init__(self) -> None:
        allowed = {"onnx": ("fp32", "int8"), "tensorrt": ("fp32", "fp16", "bf16")}
        if self.format not in allowed:
            raise ArtifactError(f"format {self.format!r}: expected one of {', '.join(FORMATS)}")
        if self.precision not in allowed[self.format]:
            raise ArtifactError(
                f"precision {self.precision!r}: the format {self.format} takes {', '.join(allowed[self.format])}"
            )
        if self.proof_samples < 1:
            raise ArtifactError(f"proof samples: got {self.proof_samples}, expected at least 1")


@dataclass(frozen=True, slots=True)
class _Job:
    """One export on its way."""

    checkpoint: LoadedCheckpoint
    plan: ExportPlan
    options: ExportOptions
    name: str
    staging: Path
    progress: Progress

    @property
    def graph_name(self) -> str:
        suffix = "" if self.options.format == "onnx" else f"-{self.options.format}"
        return f"{_plain_name(self.checkpoint, self.options)}-{self.options.precision}{suffix}"

    @property
    def backend(self) -> str:
        return "tensorrt" if self.options.format == "tensorrt" else "onnxruntime"

    @property
    def graph_dir(self) -> Path:
        return self.staging / "graph"

    @property
    def assets_dir(self) -> Path:
        return self.staging / "assets"


def export_checkpoint(
    source: str | Path,
    *,
    repository: Path,
    task: Task = Task.VQA,
    options: ExportOptions | None = None,
    tokenizer: str | Path | None = None,
    labels: str | Path | None = None,
    progress: Progress = no_progress,
) -> Deployment:
    """Export, prove and publish a checkpoint.

    Args:
        source: a checkpoint directory, a published file, or a hub id.
        repository: made where it is not there.
        task: which head.
        options: name, precision, format, proof.
        tokenizer: for checkpoints that carry none.
        labels: answers, likewise.
        progress: told each stage as it begins.

    Returns:
        The manifest as published.

    Raises:
        ArtifactError: the checkpoint or the options do not fit, or a library lacks.
        ProofError: the graph is not its checkpoint; nothing is published.
    """
    options = options or ExportOptions()
    if options.format == "tensorrt":
        load_tensorrt()  # before minutes of work
    progress(Stage.LOAD)
    checkpoint = load_checkpoint(source, tokenizer=tokenizer, labels=labels, task=str(task))
    plan = plan_export(checkpoint, task)
    name = _deployment_name(checkpoint, options)
    with staging_folder(repository) as staging:
        job = _Job(checkpoint, plan, options, name, staging, progress)
        manifest = _prepare(job, task)
        progress(Stage.PUBLISH)
        staged = StagedDeployment(
            name,
            staging,
            (StagedGraph(job.graph_name, job.backend, job.graph_dir, _interface(plan)),),
            job.assets_dir,
            manifest,
        )
        return publish(repository, staged, options.version)


class _Manifest:
    """The manifest but for the version, which publication decides."""

    def __init__(self, job: _Job, task: Task, proof: Proof) -> None:
        self._job, self._task, self._proof = job, task, proof
        self._weights = weights_digest(job.checkpoint.model.state_dict())

    def __call__(self, version: int) -> Deployment:
        job = self._job
        plan, options = job.plan, job.options
        files = folder_digests(job.graph_dir, prefix=f"{version}/")
        graph = GraphRef(
            plan.graph.role, job.graph_name, version, job.backend, files, plan.graph.inputs, plan.graph.outputs
        )
        tolerances = TOLERANCES[options.precision]
        bound = max((item.tolerance for item in self._proof.outputs), default=0.0)
        return Deployment(
            name=job.name,
            version=version,
            family=plan.family,
            tasks=(self._task,),
            precision=options.precision,
            graphs=(graph,),
            image=dict(plan.image),
            text=dict(plan.text),
            axes=dict(plan.axes),
            assets=folder_digests(job.assets_dir),
            proof=self._proof,
            canary_tolerance=bound * tolerances.canary_factor,
            source={
                "id": Path(job.checkpoint.source).name,
                "sha256": weights_digest(job.checkpoint.model.state_dict()),
            },
            producers=_producer_versions(),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )


def _prepare(job: _Job, task: Task) -> _Manifest:
    """Everything up to publication, in the staging folder."""
    job.graph_dir.mkdir()
    job.assets_dir.mkdir()
    for file_name, content in job.plan.assets.items():
        (job.assets_dir / file_name).write_bytes(content)
    job.progress(Stage.SAMPLES)
    pipeline = build_pipeline(_Manifest(job, task, _no_proof())(1), job.assets_dir)
    items = _items(job, pipeline)
    job.progress(Stage.REFERENCE)
    samples = [_reference(job.plan, pipeline, item) for item in items]
    run = _build(job)
    job.progress(Stage.PROOF)
    proof = prove(
        run,
        samples,
        _mixed_batches(pipeline, items),
        answer_output=job.plan.answer_output,
        tolerances=TOLERANCES[job.options.precision],
    )
    check_proof(proof, job.graph_name)
    _write_canary(job, pipeline, items[:_CANARY_SAMPLES], samples[:_CANARY_SAMPLES])
    return _Manifest(job, task, proof)


def _build(job: _Job) -> Runner:
    """Write the graph's file and load it back the way it will be served."""
    job.progress(Stage.GRAPH)
    model = export_graph(job.plan.graph, job.plan.axes)
    check_operators(model)
    if job.options.precision == "int8":
        job.progress(Stage.QUANTIZE)
        quantize_rows(model, job.plan.graph.table_inputs)
    store_as_float16(model)
    if job.options.format == "onnx":
        path = job.graph_dir / "model.onnx"
        save_graph(model, path)
        return onnx_runner(path)
    onnx_file = job.staging / "model.onnx"
    save_graph(model, onnx_file)
    job.progress(Stage.ENGINE)
    settings = EngineSettings(job.options.precision, timing_cache=job.options.timing_cache)
    plan = build_engine(onnx_file, profile_shapes(job.plan.graph.inputs, job.plan.axes), settings)
    (job.graph_dir / "model.plan").write_bytes(plan)
    return engine_runner(plan, job.plan.graph.inputs, job.plan.graph.outputs)


def _items(job: _Job, pipeline: VqaPipeline) -> list[Item]:
    options, checkpoint = job.options, job.checkpoint
    if options.proof_data is not None:
        raw = dataset_samples(options.proof_data, options.proof_samples)
    else:
        raw = made_up_samples(checkpoint.tokenizer, checkpoint.config.max_text_len, options.proof_samples)
    return [pipeline.prepare(pipeline.prepare_image(sample.image), VqaQuery(sample.question)) for sample in raw]


def _reference(plan: ExportPlan, pipeline: VqaPipeline, item: Item) -> ProofSample:
    """The checkpoint's outputs for one sample alone."""
    feeds = pipeline.collate([item])
    arguments = [torch.from_numpy(feeds[spec.name]) for spec in plan.graph.inputs]
    with torch.no_grad():
        outputs = plan.graph.module(*arguments)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    expected: Arrays = {
        spec.name: output.float().numpy() for spec, output in zip(plan.graph.outputs, outputs, strict=True)
    }
    return ProofSample(feeds, expected)


def _mixed_batches(pipeline: VqaPipeline, items: Sequence[Item]) -> list[SampleBatch]:
    """Every sample in a batch with others of other sizes; a single sample twice."""
    groups = [tuple(range(start, min(start + _BATCH, len(items)))) for start in range(0, len(items), _BATCH)]
    rows = [group if len(group) > 1 else (0, *group) for group in groups]
    return [SampleBatch(pipeline.collate([items[index] for index in group]), group) for group in rows]


def _write_canary(job: _Job, pipeline: VqaPipeline, items: Sequence[Item], samples: Sequence[ProofSample]) -> None:
    inputs: Mapping[str, np.ndarray] = pipeline.collate(items)
    names = [spec.name for spec in job.plan.graph.outputs]
    outputs = {name: np.concatenate([sample.expected[name] for sample in samples]) for name in names}
    arrays = {f"input.{name}": array for name, array in inputs.items()}
    arrays |= {f"output.{name}": array for name, array in outputs.items()}
    np.savez_compressed(job.assets_dir / CANARY_ASSET, **arrays)  # type: ignore[arg-type]


def _interface(plan: ExportPlan) -> GraphInterface:
    return GraphInterface(plan.graph.inputs, plan.graph.outputs, plan.axes["batch"].max)


def _plain_name(checkpoint: LoadedCheckpoint, options: ExportOptions) -> str:
    return check_name(options.name or Path(checkpoint.source.partition("@")[0]).name.removesuffix(".ckpt"))


def _deployment_name(checkpoint: LoadedCheckpoint, options: ExportOptions) -> str:
    parts = [_plain_name(checkpoint, options)]
    parts += [options.precision] if options.precision != "fp32" else []
    parts += [options.format] if options.format != "onnx" else []
    return check_name("-".join(parts))


def _producer_versions() -> dict[str, str]:
    versions = {}
    for package in _PRODUCERS:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _no_proof() -> Proof:
    return Proof((OutputProof("none", 0.0, 0.0, 0.0, 0.0),), 1, 1.0, 1.0)
