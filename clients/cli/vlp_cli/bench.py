"""`vlpserve bench`: how fast a running server answers."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from vlp_cli.client_failures import told_faults
from vlp_cli.completion_values import complete_collection, complete_model
from vlp_cli.main import CommandFailure, RequestFailure
from vlp_cli.output import print_json
from vlp_cli.picture_argument import read_several
from vlp_cli.picture_fetch import is_url
from vlp_cli.server_url import AskedServer, server_options
from vlp_cli.shown_urls import without_secrets
from vlp_cli.table import one_line, print_table

if TYPE_CHECKING:
    from vlp_loadtest.mix import Mix
    from vlp_loadtest.pictures import Pictures

_HEAD = ("task", "requests", "ok/s", "p50 ms", "p90 ms", "p99 ms", "max ms", "errors")
_DEFAULT_TASK = "vqa"
_POSITIVE = click.FloatRange(0, min_open=True)


@click.command()
@click.option("--task", "tasks", multiple=True, help="What is asked; repeat it, for equal shares. None: vqa.")
@click.option("--concurrency", default=8, show_default=True, type=click.IntRange(1, 10_000), help="Connections.")
@click.option("--rate", type=_POSITIVE, help="Open loop: so many requests a second become due, whatever happens.")
@click.option("--arrivals", type=click.Choice(["poisson", "constant"]), default="poisson", help="How they are spread.")
@click.option("--duration", default=10.0, show_default=True, type=_POSITIVE, help="Seconds.")
@click.option("--requests", type=click.IntRange(1), help="At most so many.")
@click.option("--warm-up", default=8, show_default=True, type=click.IntRange(0), help="Requests that are not counted.")
@click.option("--picture", "pictures", multiple=True, help="A file in place of drawn pictures; repeat it.")
@click.option("--same", is_flag=True, help="Ask about one picture all the time, so that caches may answer.")
@click.option("--question", "questions", multiple=True, help="Of vqa, in place of built-in ones; repeat it.")
@click.option("--collection", shell_complete=complete_collection, help="For the tasks search and index.")
@click.option("--model", shell_complete=complete_model, help="name, name@version or name@alias.")
@click.option("--seed", type=int, help="Draws the same requests again.")
@click.option("--max-outstanding", default=1000, show_default=True, type=click.IntRange(1), help="Of an open loop.")
@click.option("--max-p99-ms", type=_POSITIVE, help="Code 1 where the p99 is above.")
@click.option("--max-error-share", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Code 1 above.")
@click.option("--min-rate", type=_POSITIVE, help="Code 1 where there are fewer good answers a second.")
@server_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(server: AskedServer, as_json: bool, **options: Any) -> None:
    """Ask a running server as fast as it answers, or --rate times a second, and say how long it took.

    Without --rate the loop is closed: each of --concurrency callers waits for its answer before it asks again. With
    --rate requests become due whatever the server does, and their latency counts from then, also while they wait for
    one of the connections. Every request has a picture of its own, so that no cache answers, unless --same is given.
    What got no good answer counts as one that took for ever, shown as "-".
    """
    from vlp_loadtest.arrivals import ArrivalProcess
    from vlp_loadtest.report import build_report
    from vlp_loadtest.task_requests import QUESTIONS, Material
    from vlp_loadtest.thresholds import Thresholds

    from vlp_cli.bench_run import BenchPlan, run_bench

    if not is_url(server.url):
        raise click.UsageError("--url: bench speaks HTTP; give http:// or https://")
    chance = random.Random(options["seed"])
    mix = _mix(server, options["tasks"] or (_DEFAULT_TASK,), options["model"], options["collection"])
    material = Material(
        chance,
        _pictures(chance, options["pictures"], options["same"]),
        options["model"],
        options["collection"],
        options["questions"] or QUESTIONS,
    )
    plan = BenchPlan(
        options["concurrency"],
        options["rate"],
        ArrivalProcess(options["arrivals"]),
        math.inf if options["requests"] and not options["rate"] else options["duration"],
        options["requests"],
        options["warm_up"],
        options["max_outstanding"],
    )
    result = run_bench(server, mix, material, plan)
    report = build_report(
        result.measured,
        duration_s=result.duration_s,
        cpu_share=result.cpu_share,
        load=_load(server, plan.concurrency, options),
    )
    bounds = Thresholds(options["max_p99_ms"], options["max_error_share"], options["min_rate"])
    report["missed"] = bounds.missed(report["total"])
    if as_json:
        print_json(report)
    else:
        _print(report)
    if report["missed"]:
        raise RequestFailure("; ".join(report["missed"]))


def _mix(server: AskedServer, tasks: Sequence[str], model: str | None, collection: str | None) -> Mix:
    """Equal shares of the tasks that are wanted.

    Raises:
        click.UsageError: one of them cannot be asked of this server.
    """
    from vlp_loadtest.mix import Mix
    from vlp_loadtest.task_requests import TASKS

    if unknown := [task for task in tasks if task not in TASKS]:
        raise click.UsageError(f"--task {unknown[0]}: expected one of {', '.join(TASKS)}")
    with told_faults(server.url), server.client() as client:
        models = client.models()
    name = None if model is None else model.partition("@")[0]
    served = {task for one in models if name in (None, one.name) for task in one.tasks}
    for task in tasks:
        if TASKS[task].served_as not in served:
            does = one_line(", ".join(sorted(served))) or "nothing"
            raise click.UsageError(f"--task {task}: what is served here does {does}")
        if TASKS[task].in_collection and collection is None:
            raise click.UsageError(f"--task {task}: give the --collection")
    return Mix(dict.fromkeys(tasks, 1.0))


def _pictures(chance: random.Random, files: Sequence[str], same: bool) -> Pictures:
    from pathlib import Path

    from vlp_loadtest.pictures import Pictures, as_jpeg

    originals = []
    for name, content in zip(files, read_several(files, fetch=True), strict=True):
        try:
            originals.append(as_jpeg(content if isinstance(content, bytes) else Path(content).read_bytes()))
        except OSError as error:
            raise CommandFailure(f"{name}: {error.strerror or error}") from error
    return Pictures(chance, count=1 if same else 0, originals=originals)


def _load(server: AskedServer, concurrency: int, options: Mapping[str, Any]) -> dict[str, Any]:
    load = {
        "host": without_secrets(server.url),
        "loop": "open" if options["rate"] else "closed",
        "concurrency": concurrency,
    }
    if options["rate"]:
        load |= {"rate": options["rate"], "arrivals": options["arrivals"]}
    return load | {"same_picture": options["same"], "warm_up": options["warm_up"], "model": options["model"]}


def _print(report: Mapping[str, Any]) -> None:
    rows = list(report["tasks"].items())
    if len(rows) > 1:
        rows.append(("all", report["total"]))
    print_table(_HEAD, [_row(name, figures) for name, figures in rows])
    for kind, count in report["total"]["faults"].items():
        click.echo(one_line(f"{count} x {kind}"))
    if not report["client"]["kept_up"]:
        health = report["client"]
        click.echo(
            f"This client could not keep up ({health['late_share']:.1%} of requests noticed late, "
            f"{health['cpu_share']:.0%} of a core used): these figures are not the server's alone."
        )


def _row(name: str, figures: Mapping[str, Any]) -> tuple[str, ...]:
    times = [figures["latency_ms"][quantile] for quantile in ("p50", "p90", "p99", "max")]
    errors = figures["requests"] - figures["ok"]
    return (
        name,
        str(figures["requests"]),
        f"{figures['rate_per_s']:.1f}",
        *("-" if value is None else f"{value:.1f}" for value in times),
        str(errors),
    )
