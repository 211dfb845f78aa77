"""`vlpserve evaluate`: accuracy per question type beside the majority baseline."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vlp_cli.evaluate_captions import CaptionsAsked, evaluate_captions
from vlp_cli.served_model import ServedModel
from vlp_cli.table import format_table

if TYPE_CHECKING:
    from vlp_models.evaluation.accuracy import AccuracyReport
    from vlp_models.evaluation.answering import Prediction
    from vlp_models.evaluation.evaluate import EvaluationData


@click.command()
@click.argument("source")
@click.option(
    "--repository",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder whose deployment SOURCE is; without it SOURCE is a checkpoint.",
)
@click.option("--data", "root", type=click.Path(path_type=Path, exists=True), required=True, help="Data set folder.")
@click.option("--split", default="test", show_default=True, help="Split that is asked.")
@click.option("--train-split", default="train", show_default=True, help="Split that majority answers are counted on.")
@click.option("--limit", type=click.IntRange(min=0), default=0, help="Questions at most; 0 asks all.")
@click.option("--batch-size", type=click.IntRange(min=1), default=64, show_default=True, help="Questions a pass.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N; for a checkpoint.")
@click.option(
    "--regions", type=click.Path(path_type=Path, exists=True), help="Region features in place of an extractor."
)
@click.option("--blind", is_flag=True, help="Show one grey picture instead of each picture.")
@click.option("--predictions", type=click.Path(path_type=Path), help="Write every answer to this JSONL file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def evaluate(  # noqa: PLR0913 - one parameter an option
    source: str,
    repository: Path | None,
    root: Path,
    split: str,
    train_split: str,
    limit: int,
    batch_size: int,
    device: str,
    regions: Path | None,
    blind: bool,
    predictions: Path | None,
    as_json: bool,
) -> None:
    """Measure SOURCE on a data set's split: a checkpoint or, with --repository, a deployment's name, name@version or
    name@alias.

    Scores are mean soft scores of the predicted answers. The baseline always gives the most frequent answer of the
    question's type. Where all questions carry "human_answers", one a person, the official VQA accuracy is printed too.
    A deployment for entailment, reasoning or grounding is asked the split's hypotheses, statements on
    two pictures, or phrases (right is a box that overlaps by more than half). One that captions is shown the split's
    pictures: BLEU and CIDEr as the COCO caption tools count them, and the captions that are true of a known scene.
    """
    from tqdm import tqdm
    from vlp_spec.found_deployment import find_deployment
    from vlp_spec.tasks import Task

    if repository is not None:
        deployment = find_deployment(repository, source).deployment
        if deployment.tasks[0] is Task.CAPTION:
            if regions is not None or blind or device != "cpu":
                raise click.UsageError("--regions, --blind, --device: not for a deployment that captions")
            asked = CaptionsAsked(repository, source, root, split, train_split, limit, batch_size, predictions, as_json)
            click.echo(evaluate_captions(asked))
            return
        if deployment.tasks[0] is not Task.VQA or deployment.image.get("type") == "regions":
            if predictions is not None or device != "cpu":
                raise click.UsageError("--predictions, --device: not for this deployment's task")
            wanted = Judged(repository, source, root, split, limit, batch_size)
            click.echo(_judge(wanted, regions, blind=blind, as_json=as_json))
            return
    if regions is not None:
        raise click.UsageError("--regions: belongs to a deployment that reads region features")
    from vlp_models.evaluation.answering import write_predictions
    from vlp_models.evaluation.evaluate import EvaluationData

    data = EvaluationData(root, split, train_split, limit=limit, blind=blind)
    with tqdm(unit="question", disable=as_json) as bar:

        def watch(answered_so_far: int) -> None:
            bar.update(answered_so_far - bar.n)

        name, report, answered = _ask(repository, source, data, device=device, batch_size=batch_size, watch=watch)
    if predictions is not None:
        write_predictions(predictions, answered)
    click.echo(_as_json(name, split, report) if as_json else _as_text(name, split, report))


def _ask(
    repository: Path | None,
    source: str,
    data: EvaluationData,
    *,
    device: str,
    batch_size: int,
    watch: Callable[[int], None],
) -> tuple[str, AccuracyReport, list[Prediction]]:
    """Questions to a checkpoint or a deployment; those that write their answers are served to be asked."""
    from vlp_models.evaluation.artefacts import open_checkpoint, open_deployment
    from vlp_models.evaluation.evaluate import evaluate_answerer, evaluate_model
    from vlp_pipeline.generative import DECODER_ROLE
    from vlp_spec.found_deployment import find_deployment

    if repository is None:
        model = open_checkpoint(source, device)
        return model.name, *evaluate_model(model, data, batch_size=batch_size, watch=watch)
    if any(graph.role == DECODER_ROLE for graph in find_deployment(repository, source).deployment.graphs):
        if data.blind:
            raise click.UsageError("--blind: not for a deployment that writes its answers")
        with ServedModel(repository, source) as served:
            return served.name, *evaluate_answerer(served, data, batch_size=batch_size, watch=watch)
    model = open_deployment(repository, source)
    return model.name, *evaluate_model(model, data, batch_size=batch_size, watch=watch)


@dataclass(frozen=True, slots=True)
class Judged:
    """Which deployment is asked what."""

    repository: Path
    source: str
    root: Path
    split: str
    limit: int
    batch_size: int


def _judge(wanted: Judged, regions: Path | None, *, blind: bool, as_json: bool) -> str:
    from tqdm import tqdm
    from vlp_models.evaluation.judging import judge_split, open_judge

    model = open_judge(wanted.repository, wanted.source, regions, blind=blind)
    with tqdm(unit="example", disable=as_json) as bar:

        def watch(done: int) -> None:
            bar.update(done - bar.n)

        report = judge_split(
            model, wanted.root, wanted.split, limit=wanted.limit, batch_size=wanted.batch_size, watch=watch
        )
    return (_as_json if as_json else _as_text)(model.name, wanted.split, report)


def _as_text(name: str, split: str, report: AccuracyReport) -> str:
    rows = [
        [
            item.type,
            str(item.questions),
            f"{item.accuracy:.2%}",
            f"{item.baseline:.2%}",
            item.baseline_answer,
        ]
        for item in report.types
    ]
    rows.append(["macro average", "", f"{report.macro_accuracy:.2%}", f"{report.macro_baseline:.2%}", ""])
    rows.append(["all questions", str(report.questions), f"{report.accuracy:.2%}", "", ""])
    if report.vqa is not None:
        rows.append(["official VQA accuracy", str(report.vqa.questions), f"{report.vqa.accuracy:.2%}", "", ""])
        rows += [[f"  {kind}", str(count), f"{mean:.2%}", "", ""] for kind, (count, mean) in report.vqa.by_type.items()]
    table = format_table(["type", "questions", "accuracy", "baseline", "most frequent answer"], rows)
    return f"{name} on split {split!r}; baseline answers counted on split {report.baseline_split!r}\n{table}"


def _as_json(name: str, split: str, report: AccuracyReport) -> str:
    types = {
        item.type: {
            "questions": item.questions,
            "accuracy": item.accuracy,
            "baseline": item.baseline,
            "baseline_answer": item.baseline_answer,
        }
        for item in report.types
    }
    content = {
        "model": name,
        "split": split,
        "questions": report.questions,
        "accuracy": report.accuracy,
        "macro_accuracy": report.macro_accuracy,
        "macro_baseline": report.macro_baseline,
        "baseline_split": report.baseline_split,
        "types": types,
    }
    if report.vqa is not None:
        by_type = {kind: {"questions": count, "accuracy": mean} for kind, (count, mean) in report.vqa.by_type.items()}
        content["official_vqa"] = {"accuracy": report.vqa.accuracy, "types": by_type}
    return json.dumps(content, indent=1)
