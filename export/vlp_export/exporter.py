"""Checkpoint -> proved deployment of a repository: the whole way, in the order in which it can fail cheaply."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import onnx
from vlp_models.checkpoints import LoadedCheckpoint, load_checkpoint
from vlp_models.evaluation.onnx_runner import Runner, onnx_runner
from vlp_pipeline.registry import build_pipeline
from vlp_spec.deployment import Deployment, GraphRef, OutputProof, Proof, check_name
from vlp_spec.errors import ArtifactError
from vlp_spec.repository import CANARY_ASSET
from vlp_spec.tasks import Task

from vlp_export.digests import folder_digests, weights_digest
from vlp_export.evidence import Evidence, gather_evidence, write_canary
from vlp_export.extractor import with_extractor
from vlp_export.float16_storage import store_as_float16
from vlp_export.gelu_form import order_gelu
from vlp_export.int8 import quantize_rows
from vlp_export.onnx_graph import export_graph, save_graph
from vlp_export.operators import INT8_OPERATORS, check_operators
from vlp_export.options import ExportOptions
from vlp_export.plan import Arrays, ExportPlan, GraphPlan
from vlp_export.plans import own_task, plan_export
from vlp_export.progress import Progress, Stage, no_progress
from vlp_export.proof import TOLERANCES, Findings, GraphCase, check_proof, choose_canary, prove
from vlp_export.publish import StagedDeployment, StagedGraph, publish
from vlp_export.sample_items import chained_outputs
from vlp_export.samples import RawSample, dataset_samples, made_up_samples
from vlp_export.staging import staging_folder
from vlp_export.tensorrt_engine import EngineSettings, build_engine, load_tensorrt
from vlp_export.tensorrt_profile import profile_shapes
from vlp_export.tensorrt_runner import engine_runner
from vlp_export.triton_config import GraphInterface

Models = dict[str, onnx.ModelProto]
Runners = dict[str, Runner]
"""Role -> graph in memory, and as it runs."""
Chain = Callable[[Runners], list[Arrays]]

_INTERMEDIATE_SAMPLES = 8
_CANARY_SAMPLES = 3
_PRODUCERS = ("vlpserve", "torch", "onnx", "onnxruntime", "transformers")


@dataclass(frozen=True, slots=True)
class _Job:
    """One export on its way."""

    checkpoint: LoadedCheckpoint
    plan: ExportPlan
    options: ExportOptions
    name: str
    staging: Path
    progress: Progress

    def graph_name(self, role: str) -> str:
        parts = [_plain_name(self.checkpoint, self.options)]
        parts += [role] if len(self.plan.graphs) > 1 else []
        parts += [self.options.precision, *([] if self.options.format == "onnx" else [self.options.format])]
        return check_name("-".join(parts))

    @property
    def backend(self) -> str:
        return "tensorrt" if self.options.format == "tensorrt" else "onnxruntime"

    def graph_dir(self, role: str) -> Path:
        return self.staging / f"graph-{role}"

    @property
    def assets_dir(self) -> Path:
        return self.staging / "assets"


def export_checkpoint(
    source: str | Path,
    *,
    repository: Path,
    task: Task | None = None,
    options: ExportOptions | None = None,
    tokenizer: str | Path | None = None,
    labels: str | Path | None = None,
    progress: Progress = no_progress,
) -> Deployment:
    """Export, prove and publish a checkpoint.

    Args:
        source: a checkpoint directory, a published file, or a hub id. Zoo names are the command's business.
        repository: made where it is not there.
        task: what it shall do; None takes what the checkpoint was made for. The deployment of a dual encoder, or of a
            BLIP that matches, offers all of its tasks, whichever is named.
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
    checkpoint = load_checkpoint(source, tokenizer=tokenizer, labels=labels, task=None if task is None else str(task))
    plan = plan_export(checkpoint, own_task(checkpoint) if task is None else task)
    if options.format not in plan.formats:
        raise ArtifactError(
            f"{checkpoint.source}: the graphs of a {plan.family} for the task {plan.tasks[0]} are made as "
            f"{', '.join(plan.formats)}, not as {options.format}"
        )
    plan = with_extractor(plan, repository, options.extractor)
    name = _deployment_name(checkpoint, options)
    with staging_folder(repository) as staging:
        job = _Job(checkpoint, plan, options, name, staging, progress)
        manifest = _prepare(job)
        progress(Stage.PUBLISH)
        graphs = tuple(
            StagedGraph(job.graph_name(graph.role), job.backend, job.graph_dir(graph.role), _interface(plan, graph))
            for graph in plan.graphs
        )
        staged = StagedDeployment(name, staging, graphs, job.assets_dir, manifest)
        return publish(repository, staged, options.version)


class _Manifest:
    """The manifest but for the version, which publication decides."""

    def __init__(self, job: _Job, proof: Proof, canary_tolerance: float = 0.0, weights: str = "") -> None:
        self._job, self._weights = job, weights
        self._proof, self._canary_tolerance = proof, canary_tolerance

    def __call__(self, version: int) -> Deployment:
        job = self._job
        plan, options = job.plan, job.options
        graphs = tuple(
            GraphRef(
                role=graph.role,
                name=job.graph_name(graph.role),
                version=version,
                backend=job.backend,
                files=folder_digests(job.graph_dir(graph.role), prefix=f"{version}/"),
                inputs=graph.inputs,
                outputs=graph.outputs,
            )
            for graph in plan.graphs
        )
        return Deployment(
            name=job.name,
            version=version,
            family=plan.family,
            tasks=plan.tasks,
            precision=options.precision,
            graphs=graphs,
            image=dict(plan.image),
            text=dict(plan.text),
            axes=dict(plan.axes),
            assets=folder_digests(job.assets_dir),
            proof=self._proof,
            canary_tolerance=self._canary_tolerance,
            source={
                "id": Path(job.checkpoint.source).name,
                "sha256": self._weights,
            },
            producers=_producer_versions(),
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            head=dict(plan.head),
        )


def _prepare(job: _Job) -> _Manifest:
    """Everything up to publication, in the staging folder."""
    for graph in job.plan.graphs:
        job.graph_dir(graph.role).mkdir()
    job.assets_dir.mkdir()
    for file_name, content in job.plan.assets.items():
        (job.assets_dir / file_name).write_bytes(content)
    job.progress(Stage.REFERENCE)
    pipeline = build_pipeline(_Manifest(job, _no_proof())(1), job.assets_dir)
    raw = _raw_samples(job)
    evidence = gather_evidence(job.plan, pipeline, raw)
    models = _export_float32(job, evidence)
    chain = functools.partial(chained_outputs, job.plan, pipeline, raw)
    findings = _prove(job, _finish(job, models), evidence, job.options.precision, chain)
    chosen, tolerance = choose_canary(findings, _canary_samples(job.plan))
    write_canary(evidence, chosen, job.assets_dir / CANARY_ASSET)
    return _Manifest(job, findings.proof, tolerance, weights_digest(job.checkpoint.model.state_dict()))


def _canary_samples(plan: ExportPlan) -> int:
    """How many make the canary: one, where outputs of different sizes could not be put side by side."""
    dynamic = {
        size for graph in plan.graphs for spec in graph.outputs for size in spec.shape[1:] if isinstance(size, str)
    }
    return 1 if dynamic else min(_CANARY_SAMPLES, plan.axes["batch"].max)


def _raw_samples(job: _Job) -> list[RawSample]:
    options, checkpoint = job.options, job.checkpoint
    if options.proof_data is not None and job.plan.image.get("type") == "regions":
        raise ArtifactError("proof data: this model reads region features; it is proved on made-up ones")
    if options.proof_data is not None:
        return dataset_samples(options.proof_data, options.proof_samples, job.plan.tasks[0])
    return made_up_samples(checkpoint.tokenizer, checkpoint.config.max_text_len, options.proof_samples)


def _export_float32(job: _Job, evidence: Evidence) -> Models:
    """The float32 graphs, proved with the tightest bounds: what is quantised or built later starts from the truth."""
    job.progress(Stage.GRAPH)
    models: Models = {}
    for graph in job.plan.graphs:
        model = export_graph(graph, job.plan.axes)
        order_gelu(model)
        check_operators(model, job.plan.operators)
        models[graph.role] = model
    if job.backend == "onnxruntime" and job.options.precision == "fp32":
        return models  # proved as they will be served
    runners = {}
    for role, model in models.items():
        path = job.staging / f"float32-{role}.onnx"
        save_graph(model, path)
        runners[role] = onnx_runner(path)
        path.unlink()
    _prove(job, runners, {role: item.head(_INTERMEDIATE_SAMPLES) for role, item in evidence.items()}, "fp32")
    return models


def _finish(job: _Job, models: Models) -> Runners:
    """Write the graphs' files and load them back the way they will be served."""
    if job.options.precision == "int8":
        job.progress(Stage.QUANTIZE)
        for graph in job.plan.graphs:
            quantize_rows(models[graph.role], graph.table_inputs)
            check_operators(models[graph.role], INT8_OPERATORS | job.plan.operators)
    if job.backend == "tensorrt":
        job.progress(Stage.ENGINE)
    return {graph.role: _finish_graph(job, graph, models.pop(graph.role)) for graph in job.plan.graphs}


def _finish_graph(job: _Job, graph: GraphPlan, model: onnx.ModelProto) -> Runner:
    store_as_float16(model)
    if job.backend == "onnxruntime":
        path = job.graph_dir(graph.role) / "model.onnx"
        save_graph(model, path)
        return onnx_runner(path)
    onnx_file = job.staging / f"{graph.role}.onnx"
    save_graph(model, onnx_file)
    settings = EngineSettings(job.options.precision, timing_cache=job.options.timing_cache)
    engine = build_engine(onnx_file, profile_shapes(graph.inputs, job.plan.axes), settings)
    (job.graph_dir(graph.role) / "model.plan").write_bytes(engine)
    return engine_runner(engine, graph.inputs, graph.outputs)


def _prove(job: _Job, runners: Runners, evidence: Evidence, precision: str, chain: Chain | None = None) -> Findings:
    """Measure the graphs, and with `chain` also their answers one behind the other.

    Raises:
        ProofError: they do not hold.
    """
    job.progress(Stage.PROOF)
    cases = [GraphCase(run, evidence[role].samples, evidence[role].batches) for role, run in runners.items()]
    findings = prove(
        cases,
        answer=job.plan.answer,
        tolerances=TOLERANCES[precision],
        min_agreement=job.options.agreement_bound if precision == job.options.precision else None,
        chained=() if chain is None else chain(runners),
    )
    names = ", ".join(job.graph_name(role) for role in runners)
    check_proof(findings.proof, f"{names} ({precision})")
    return findings


def _interface(plan: ExportPlan, graph: GraphPlan) -> GraphInterface:
    return GraphInterface(graph.inputs, graph.outputs, plan.axes["batch"].max)


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
