"""`vlpserve export`: a checkpoint becomes a proved deployment."""

from __future__ import annotations

from pathlib import Path

import click
from vlp_spec.tasks import Task

# As words: of an enumeration click would take the members' names, "VQA".
_TASKS = [str(task) for task in Task]


@click.command()
@click.argument("checkpoint")
@click.option("--repository", type=click.Path(path_type=Path), required=True, help="Where the deployment goes.")
@click.option("--task", type=click.Choice(_TASKS), help="What it shall do; default: what it was made for.")
@click.option("--name", help="Of the deployment; default the checkpoint's own name.")
@click.option("--version", type=click.IntRange(min=1), help="Default: the next free one.")
@click.option("--precision", default="fp32", show_default=True, help="fp32 or int8; TensorRT: fp32, fp16 or bf16.")
@click.option("--format", "format_", type=click.Choice(["onnx", "tensorrt"]), default="onnx", show_default=True)
@click.option("--tokenizer", type=click.Path(path_type=Path), help="For a checkpoint that carries none.")
@click.option("--labels", type=click.Path(path_type=Path), help="JSON of answers, likewise.")
@click.option("--proof-data", type=click.Path(path_type=Path), help="JSONL data set to prove the graph on.")
@click.option("--proof-samples", type=click.IntRange(min=1), default=16, show_default=True)
@click.option("--min-agreement", type=click.FloatRange(0, 1), help="Share of samples that must keep their answer.")
@click.option("--extractor", help="Deployment, of the same repository, that makes a model's region features.")
@click.option("--timing-cache", type=click.Path(path_type=Path), help="TensorRT's kernel timings, kept in this file.")
def export(  # noqa: PLR0913 - one parameter an option
    checkpoint: str,
    repository: Path,
    task: str | None,
    name: str | None,
    version: int | None,
    precision: str,
    format_: str,
    tokenizer: Path | None,
    labels: Path | None,
    proof_data: Path | None,
    proof_samples: int,
    min_agreement: float | None,
    extractor: str | None,
    timing_cache: Path | None,
) -> None:
    """Export CHECKPOINT: a directory, the name of a shipped model, a hub id, or a published .ckpt file."""
    from vlp_export.exporter import export_checkpoint
    from vlp_export.options import ExportOptions
    from vlp_export.proof import proof_table
    from vlp_zoo import zoo_path

    shipped = zoo_path() / "checkpoints" / checkpoint
    is_shipped = "/" not in checkpoint and not Path(checkpoint).exists() and shipped.is_dir()
    deployment = export_checkpoint(
        shipped if is_shipped else checkpoint,
        repository=repository,
        task=None if task is None else Task(task),
        options=ExportOptions(
            name=name,
            version=version,
            precision=precision,
            format=format_,
            proof_samples=proof_samples,
            proof_data=proof_data,
            min_agreement=min_agreement,
            timing_cache=timing_cache,
            extractor=extractor,
        ),
        tokenizer=tokenizer,
        labels=labels,
        progress=lambda stage: click.echo(f"{stage}...", err=True),
    )
    click.echo(f"{deployment.name}@{deployment.version}")
    for line in proof_table(deployment.proof):
        click.echo(f"  {line}")
