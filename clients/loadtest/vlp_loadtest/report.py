"""The report of a run, as a document and as a page."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from vlp_loadtest.measures import Measured, by_task, client_health, summary, timeline

SCHEMA = 1
_STYLE = """body{font:15px/1.4 sans-serif;margin:2em;max-width:70em;color:#222}table{border-collapse:collapse}
td,th{padding:.25em .8em;text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}
.bad{color:#a00}svg{background:#f6f6f6}"""
_HEAD = ("", "requests", "ok", "failed", "shed", "unanswered", "ok/s", "p50", "p90", "p99", "max", "service p99")
_WIDTH, _HEIGHT = 900, 180


def build_report(
    measured: Sequence[Measured], *, duration_s: float, cpu_share: float, load: Mapping[str, Any]
) -> dict[str, Any]:
    """All figures of a run; the members' names are stable.

    Args:
        measured: every request.
        duration_s: in which requests were due.
        cpu_share: of one core that the client used.
        load: what was asked for: address, process of arrivals, bounds, tasks.
    """
    return {
        "schema": SCHEMA,
        "load": dict(load),
        "duration_s": round(duration_s, 3),
        "total": summary(measured, duration_s),
        "tasks": by_task(measured, duration_s),
        "client": client_health(measured, cpu_share),
        "timeline": timeline(measured),
    }


def report_json(report: Mapping[str, Any]) -> str:
    """The document as text."""
    return json.dumps(report, indent=1) + "\n"


def report_html(report: Mapping[str, Any], missed: Sequence[str]) -> str:
    """The page: one file that needs nothing else."""
    rows = [("all", report["total"]), *report["tasks"].items()]
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(name, row))}</tr>" for name, row in rows)
    head = "".join(f"<th>{name}</th>" for name in _HEAD)
    load = ", ".join(f"{html.escape(str(name))} {html.escape(str(value))}" for name, value in report["load"].items())
    notes = [f'<p class="bad">missed: {html.escape(reason)}</p>' for reason in missed]
    if not report["client"]["kept_up"]:
        notes.append('<p class="bad">The client could not keep up; these figures are not the server\'s alone.</p>')
    faults = ", ".join(f"{html.escape(kind)} {count}" for kind, count in report["total"]["faults"].items())
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>vlpserve load test</title><style>{_STYLE}</style>'
        f"<h1>vlpserve load test</h1><p>{load}; {report['duration_s']} s</p>{''.join(notes)}"
        f"<table><tr>{head}</tr>{body}</table><p>Times in ms, from when a request was due; <em>service</em> from when "
        f"it was sent. A dash: for ever.</p><p>Errors: {faults or 'none'}</p>"
        f"<h2>p99 by second (bars: requests due)</h2>{_chart(report['timeline'])}</html>\n"
    )


def _cells(name: str, row: Mapping[str, Any]) -> list[str]:
    times = [row["latency_ms"][key] for key in ("p50", "p90", "p99", "max")] + [row["service_ms"]["p99"]]
    counts = [str(row[key]) for key in ("requests", "ok", "failed", "shed", "unanswered")]
    return [
        html.escape(name),
        *counts,
        f"{row['rate_per_s']:.2f}",
        *("-" if value is None else f"{value:.0f}" for value in times),
    ]


def _chart(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    seconds = rows[-1]["second"] + 1
    tallest = max(row["requests"] for row in rows)
    slowest = max((row["p99"] or 0.0 for row in rows), default=0.0) or 1.0
    step = _WIDTH / seconds
    bars, points = [], []
    for row in rows:
        left, height = row["second"] * step, row["requests"] / tallest * _HEIGHT
        bars.append(
            f'<rect x="{left:.1f}" y="{_HEIGHT - height:.1f}" width="{max(step - 1, 0.5):.1f}" height="{height:.1f}"/>'
        )
        level = _HEIGHT if row["p99"] is None else row["p99"] / slowest * (_HEIGHT - 10)
        points.append(f"{left + step / 2:.1f},{_HEIGHT - level:.1f}")
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}"><g fill="#cdd">{"".join(bars)}</g>'
        f'<polyline fill="none" stroke="#a00" stroke-width="2" points="{" ".join(points)}"/></svg>'
        f"<p>highest: {slowest:.0f} ms, {tallest} requests in a second</p>"
    )
