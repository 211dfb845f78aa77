from __future__ import annotations

import json
from typing import Any

import pytest
from vlp_loadtest.measures import SHED, UNANSWERED, Measured, client_health, quantiles_ms, summary, timeline
from vlp_loadtest.report import build_report, report_html, report_json
from vlp_loadtest.thresholds import Thresholds


def good(due_s: float, sent_s: float, done_s: float, task: str = "vqa") -> Measured:
    return Measured(task, due_s, due_s, sent_s, done_s, None)


def test_a_latency_counts_from_when_the_request_was_due() -> None:
    figures = summary([good(0, 2, 3)], 10)
    assert figures["latency_ms"] == {"p50": 3000, "p90": 3000, "p99": 3000, "max": 3000}
    assert figures["service_ms"]["p99"] == 1000
    assert (figures["ok"], figures["rate_per_s"], figures["error_share"]) == (1, 0.1, 0)


def test_what_got_no_good_answer_took_for_ever() -> None:
    measured = [good(0, 0, 0.5) for _ in range(97)]
    measured += [
        Measured("vqa", 0, 0, 0, 0.001, "overloaded"),  # a quick no is no answer
        Measured("vqa", 0, 0, None, None, SHED),
        Measured("vqa", 0, 0, None, None, UNANSWERED),
    ]
    figures = summary(measured, 1)
    assert (figures["failed"], figures["shed"], figures["unanswered"], figures["error_share"]) == (1, 1, 1, 0.03)
    assert figures["faults"] == {"overloaded": 1, "shed": 1, "unanswered": 1}
    assert figures["latency_ms"] == {"p50": 500, "p90": 500, "p99": None, "max": None}
    assert figures["service_ms"]["max"] == 500


def test_quantiles_are_the_nearest_rank() -> None:
    assert quantiles_ms([number / 1000 for number in range(1, 101)]) == {"p50": 50, "p90": 90, "p99": 99, "max": 100}
    assert quantiles_ms([0.007]) == {"p50": 7, "p90": 7, "p99": 7, "max": 7}
    assert quantiles_ms([]) == {"p50": None, "p90": None, "p99": None, "max": None}


def test_a_row_a_second() -> None:
    rows = timeline([good(0.1, 0.1, 0.2), good(0.9, 0.9, 1.9), good(2.5, 2.5, 2.6)])
    assert [(row["second"], row["requests"], row["p99"]) for row in rows] == [(0, 2, 1000), (2, 1, pytest.approx(100))]


@pytest.mark.parametrize(("late", "cpu", "kept_up"), [(0, 0.5, True), (2, 0.5, False), (0, 0.95, False)])
def test_a_client_that_is_the_bottleneck_says_so(late: int, cpu: float, kept_up: bool) -> None:
    measured = [Measured("vqa", 0, 0.2 if number < late else 0.001, 0.3, 0.4, None) for number in range(100)]
    assert client_health(measured, cpu)["kept_up"] is kept_up


@pytest.mark.parametrize(
    ("bounds", "reasons"),
    [
        (Thresholds(), []),
        (Thresholds(500, 0.0, 1.0), []),
        (Thresholds(max_p99_ms=499), ["p99: got 500.0 ms, expected at most 499 ms"]),
        (Thresholds(min_rate=20), ["rate: got 10.00/s, expected at least 20/s"]),
    ],
)
def test_bounds_of_a_sound_run(bounds: Thresholds, reasons: list[str]) -> None:
    assert bounds.missed(summary([good(0, 0, 0.5) for _ in range(10)], 1)) == reasons


def test_bounds_of_a_run_with_errors() -> None:
    figures = summary([good(0, 0, 0.5), Measured("vqa", 0, 0, None, None, SHED)], 1)
    missed = Thresholds(10_000, 0.4, None).missed(figures)
    assert missed == [
        "p99: got no end (more than 1 in 100 had no good answer), expected at most 10000 ms",
        "errors: got a share of 0.5000, expected at most 0.4",
    ]


def made_report(measured: list[Measured]) -> dict[str, Any]:
    return build_report(measured, duration_s=3, cpu_share=0.1, load={"host": "http://<server>"})


def test_the_document_is_json_and_has_a_part_for_each_task() -> None:
    report = made_report([good(0, 0, 1), good(1, 1, 2, "caption"), Measured("vqa", 2, 2, None, None, SHED)])
    read = json.loads(report_json(report))
    assert read["total"]["requests"] == 3
    assert set(read["tasks"]) == {"vqa", "caption"}
    assert set(read) == {"schema", "load", "duration_s", "total", "tasks", "client", "timeline"}
    assert "Infinity" not in report_json(report)


@pytest.mark.parametrize("measured", [[], [good(0, 0, 1)], [Measured("<b>", 0, 9, None, None, SHED)]])
def test_the_page_stands_alone_and_trusts_no_name(measured: list[Measured]) -> None:
    page = report_html(made_report(measured), ["p99: got <more>"])
    assert page.startswith("<!doctype html>")
    assert "&lt;server&gt;" in page
    assert "&lt;more&gt;" in page
    assert "<b>" not in page
    assert "src=" not in page


def test_a_run_that_asked_nothing_proves_nothing() -> None:
    for bounds in (Thresholds(), Thresholds(500, 1.0, None)):
        assert "no requests: nothing was measured" in bounds.missed(summary([], 1))


def test_answers_that_came_late_count_over_the_time_in_which_they_came() -> None:
    late = [good(0, 0, 1), good(0.5, 0.5, 10), Measured("vqa", 0.9, 0.9, 0.9, 20, "internal")]
    assert summary(late, 1)["rate_per_s"] == 0.2
    report = made_report([good(0, 0, 4), good(0, 0, 5, "caption")])
    assert (report["total"]["rate_per_s"], report["tasks"]["vqa"]["rate_per_s"]) == (0.4, 0.2)
