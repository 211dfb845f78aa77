from __future__ import annotations

import asyncio
import functools
import json
import random
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from vlp_cli import bench_run, server_url
from vlp_cli.bench_run import BenchPlan, BenchResult, run_bench
from vlp_cli.main import cli
from vlp_cli.server_url import AskedServer
from vlp_client import Client
from vlp_loadtest.arrivals import ArrivalProcess
from vlp_loadtest.measures import summary
from vlp_loadtest.mix import Mix
from vlp_loadtest.pictures import Pictures
from vlp_loadtest.task_requests import Material

MODEL = {"family": "f", "precision": "fp32", "limits": {}, "state": "ready", "reason": "", "default": True}
ANSWER = {"answers": [], "model": "m@1"}
Handle = Callable[[httpx.Request], Any]


def measure(plan: BenchPlan, handle: Handle, count: int = 0) -> BenchResult:
    material = Material(random.Random(0), Pictures(random.Random(0), side=32, count=count))
    transport = httpx.MockTransport(handle)
    server = AskedServer("http://server", "vlp_x", 5)
    return run_bench(server, Mix({"vqa": 1}), material, plan, transport=transport)


async def answer(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=ANSWER)


def test_a_closed_loop_has_so_many_under_way_and_never_more() -> None:
    under_way, most, bodies = 0, 0, set[bytes]()

    async def handle(request: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        bodies.add(request.content)
        assert request.headers["Authorization"] == "Bearer vlp_x"
        await asyncio.sleep(0)
        under_way -= 1
        return httpx.Response(200, json=ANSWER)

    result = measure(BenchPlan(concurrency=3, requests=40, warm_up=5), handle)
    assert len(result.measured) == 40
    assert most == 3
    assert len(bodies) == 45  # each picture is new, those of the warm-up too
    assert all(one.fault is None for one in result.measured)


def test_an_open_loop_sends_what_is_due() -> None:
    plan = BenchPlan(rate_per_s=500, process=ArrivalProcess.CONSTANT, duration_s=0.2, warm_up=0)
    result = measure(plan, answer)
    assert [one.due_s for one in sorted(result.measured, key=lambda one: one.due_s)] == [
        pytest.approx(number / 500) for number in range(100)
    ]


def test_who_waits_for_a_connection_waits_from_when_the_request_was_due() -> None:
    """A server that does not answer until all 20 are due: one connection, so that 19 are not even sent."""
    released = asyncio.Event()

    async def stall(_: httpx.Request) -> httpx.Response:
        await released.wait()
        return httpx.Response(200, json=ANSWER)

    class Releasing(bench_run._Loop):
        def _task(self) -> str:
            if len(self._waiting) == 19:
                asyncio.get_running_loop().call_later(0.2, released.set)
            return super()._task()

    plan = BenchPlan(1, rate_per_s=100, process=ArrivalProcess.CONSTANT, requests=20, duration_s=60, warm_up=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_run, "_Loop", Releasing)
        result = measure(plan, stall)
    figures = summary(result.measured, result.duration_s)
    # All but the first one were sent only after the stall and then answered at once: from sending on, nothing is seen.
    service = sorted(one.done_s - one.sent_s for one in result.measured if one.done_s and one.sent_s is not None)
    assert figures["ok"] == 20
    assert figures["latency_ms"]["p50"] > 200
    assert service[18] < min(one.latency_s for one in result.measured)


def test_what_is_too_much_is_shed_and_what_is_never_answered_is_counted() -> None:
    async def never(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        return httpx.Response(200)

    plan = BenchPlan(2, 500, ArrivalProcess.CONSTANT, 0.1, warm_up=0, max_outstanding=10, grace_s=0.01)
    figures = summary(measure(plan, never).measured, 0.1)
    assert (figures["unanswered"], figures["shed"], figures["ok"]) == (10, 40, 0)
    assert figures["latency_ms"]["p50"] is None


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (httpx.ConnectError("refused"), "unreachable"),
        (httpx.ReadTimeout("slow"), "no_answer"),
        (httpx.DecodingError("no gzip"), "unexpected_answer"),
        (KeyError("of this program"), "client_fault_KeyError"),
    ],
)
@pytest.mark.parametrize("rate", [None, 200.0])
def test_whatever_goes_wrong_is_counted_by_its_kind(fault: Exception, kind: str, rate: float | None) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise fault

    measured = measure(BenchPlan(rate_per_s=rate, requests=5, warm_up=0), fail).measured
    assert [one.fault for one in measured] == [kind] * 5


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command against a server whose every third answer is a refusal."""
    asked = 0

    def handle(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        if request.url.path == "/v1/models":
            models = [{"id": "m@1", "name": "m", "version": 1, "tasks": ["vqa", "embeddings"], **MODEL}]
            return httpx.Response(200, json={"data": models})
        asked += 1
        if asked % 3 == 0:
            return httpx.Response(429, json={"kind": "overloaded", "detail": "full", "status": 429})
        return httpx.Response(200, json=ANSWER)

    transport = httpx.MockTransport(handle)
    monkeypatch.setattr(server_url, "Client", functools.partial(Client, transport=transport))
    monkeypatch.setattr(bench_run, "run_bench", functools.partial(run_bench, transport=transport))
    return lambda *arguments: CliRunner().invoke(cli, ["bench", *arguments])


def test_errors_are_counted_by_kind_and_are_a_failure_unless_allowed(run: Callable[..., Result]) -> None:
    done = run("--requests", "30", "--warm-up", "0")
    assert done.exit_code == 1
    head, row, errors = done.stdout.splitlines()[:3]
    assert head.split()[:3] == ["task", "requests", "ok/s"]
    assert (row.split()[0], row.split()[1], row.split()[-1]) == ("vqa", "30", "10")
    assert errors == "10 x overloaded"
    assert done.stderr == "Error: errors: got a share of 0.3333, expected at most 0\n"
    assert run("--requests", "30", "--warm-up", "0", "--max-error-share", "0.4").exit_code == 0


def test_json_is_one_document(run: Callable[..., Result]) -> None:
    report = json.loads(run("--requests", "3", "--warm-up", "2", "--json", "--seed", "1").stdout)
    assert report["total"]["requests"] == 3
    assert report["load"]["loop"] == "closed"
    assert report["missed"] == ["errors: got a share of 0.3333, expected at most 0"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "grounding"], "what is served here does embeddings, vqa"),
        (["--task", "seeing"], "expected one of vqa"),
        (["--task", "search"], "give the --collection"),
        (["--rate", "0"], "--rate"),
        (["--url", "grpc://127.0.0.1:8081"], "--url: bench speaks HTTP; give http:// or https://"),
        (["--picture", "none.jpg"], "none.jpg: No such file"),
    ],
)
def test_what_cannot_be_measured(arguments: list[str], words: str, run: Callable[..., Result]) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr


def test_a_run_in_which_nothing_became_due_is_a_failure(run: Callable[..., Result]) -> None:
    done = run("--rate", "0.001", "--duration", "0.01", "--warm-up", "0", "--seed", "1")
    assert (done.exit_code, done.stderr) == (1, "Error: no requests: nothing was measured\n")


def test_what_a_server_says_steers_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            models = [{"id": "m@1", "name": "m", "version": 1, "tasks": ["vqa", "x\x1b[2J"], **MODEL}]
            return httpx.Response(200, json={"data": models})
        return httpx.Response(500, json={"kind": "a\x1b[2J\n", "detail": "", "status": 500})

    transport = httpx.MockTransport(handle)
    monkeypatch.setattr(server_url, "Client", functools.partial(Client, transport=transport))
    monkeypatch.setattr(bench_run, "run_bench", functools.partial(run_bench, transport=transport))
    for arguments in (["--requests", "2", "--warm-up", "0"], ["--task", "grounding"]):
        done = CliRunner().invoke(cli, ["bench", *arguments])
        assert done.exit_code in (1, 2)
        assert "[2J" in done.output
        assert "\x1b" not in done.output
