"""Checkpoint -> proved deployment of a repository: the whole way, in the order in which it can fail cheaply."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import onnx
from vlp_models.checkpoints import LoadedCheckpoint, load_checkpoint
from vlp_models.evaluation.onnx_runner import Runner, onnx_runner
from vlp_pipeline.registry import build_pipeline
from vlp_spec.deployment import Deployment, GraphRef, OutputProof, Proof, check_name
from vlp_spec.repository import CANARY_ASSET
from vlp_spec.tasks import Task

from vlp_export.digests import folder_digests, weights_digest
from vlp_export.evidence import Evidence, gather_evidence, write_canary
from vlp_export.float16_storage import store_as_float16
from vlp_export.gelu_form import order_gelu
from vlp_export.int8 import quantize_rows
from vlp_export.onnx_graph import export_graph, save_graph
from vlp_export.operators import INT8_OPERATORS, check_operators
from vlp_export.options import ExportOptions
from vlp_export.plan import ExportPlan
from vlp_export.plans import plan_export
from vlp_export.progress import Progress, Stage, no_progress
from vlp_export.proof import TOLERANCES, Findings, check_proof, choose_canary, prove
from vlp_export.publish import StagedDeployment, StagedGraph, publish
from vlp_export.samples import RawSample, dataset_samples, made_up_samples
from vlp_export.staging import staging_folder
from vlp_export.tensorrt_engine import EngineSettings, build_engine, load_tensorrt
from vlp_export.tensorrt_profile import profile_shapes
from vlp_export.tensorrt_runner import engine_runner
from vlp_export.triton_config import GraphInterface

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
        source: a checkpoint directory, a published file, or a hub id. Zoo names are the command's business.
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

    def __init__(self, job: _Job, task: Task, proof: Proof, canary_tolerance: float = 0.0, weights: str = "") -> None:
        self._job, self._task, self._weights = job, task, weights
        self._proof, self._canary_tolerance = proof, canary_tolerance

    def __call__(self, version: int) -> Deployment:
        job = self._job
        plan, options = job.plan, job.options
        files = folder_digests(job.graph_dir, prefix=f"{version}/")
        graph = GraphRef(
            plan.graph.role, job.graph_name, version, job.backend, files, plan.graph.inputs, plan.graph.outputs
        )
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
            canary_tolerance=self._canary_tolerance,
            source={
                "id": Path(job.checkpoint.source).name,
                "sha256": self._weights,
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
    job.progress(Stage.REFERENCE)
    pipeline = build_pipeline(_Manifest(job, task, _no_proof())(1), job.assets_dir)
    evidence = gather_evidence(job.plan, pipeline, _raw_samples(job))
    model = _export_float32(job, evidence)
    findings = _prove(job, _finish(job, model), evidence, job.options.precision)
    chosen, tolerance = choose_canary(findings, _CANARY_SAMPLES)
    write_canary(evidence.canary(chosen), job.assets_dir / CANARY_ASSET)
    return _Manifest(job, task, findings.proof, tolerance, weights_digest(job.checkpoint.model.state_dict()))


def _raw_samples(job: _Job) -> list[RawSample]:
    options, checkpoint = job.options, job.checkpoint
    if options.proof_data is not None:
        return dataset_samples(options.proof_data, options.proof_samples)
    return made_up_samples(checkpoint.tokenizer, checkpoint.config.max_text_len, options.proof_samples)


def _export_float32(job: _Job, evidence: Evidence) -> onnx.ModelProto:
    """The float32 graph, proved with the tightest bounds: what is quantised or built later starts from the truth."""
    job.progress(Stage.GRAPH)
    model = export_graph(job.plan.graph, job.plan.axes)
    order_gelu(model)
    check_operators(model)
    if job.backend == "onnxruntime" and job.options.precision == "fp32":
        return model  # proved as it will be served
    path = job.staging / "float32.onnx"
    save_graph(model, path)
    _prove(job, onnx_runner(path), evidence.head(_INTERMEDIATE_SAMPLES), "fp32")
    path.unlink()
    return model


def _finish(job: _Job, model: onnx.ModelProto) -> Runner:
    """Write the graph's file and load it back the way it will be served."""
    if job.options.precision == "int8":
        job.progress(Stage.QUANTIZE)
        quantize_rows(model, job.plan.graph.table_inputs)
        check_operators(model, INT8_OPERATORS)
    store_as_float16(model)
    if job.backend == "onnxruntime":
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


def _prove(job: _Job, run: Runner, evidence: Evidence, precision: str) -> Findings:
    """Measure a graph.

    Raises:
        ProofError: they do not hold.
    """
    job.progress(Stage.PROOF)
    findings = prove(
        run,
        evidence.samples,
        evidence.batches,
        answer_output=job.plan.answer_output,
        tolerances=TOLERANCES[precision],
        min_agreement=job.options.agreement_bound if precision == job.options.precision else None,
    )
    check_proof(findings.proof, f"{job.graph_name} ({precision})")
    return findings


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
