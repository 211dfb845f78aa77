"""The work of `vlpserve bench`: requests in a closed or an open loop, and when they were due, sent and answered.

Knows no SDK: one that sends a request again would hide that it was refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import httpx
from vlp_loadtest.arrivals import ArrivalProcess, arrival_times
from vlp_loadtest.measures import SHED, UNANSWERED, Measured
from vlp_loadtest.mix import Mix
from vlp_loadtest.task_requests import TASKS, Material, Request, fault_of

from vlp_cli.server_url import AskedServer

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
Send = Callable[[Request], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """How the requests come.

    Attributes:
        concurrency: requests under way at a time.
        rate_per_s: of an open loop, in which requests become due whatever the server does; None: a closed one.
        process: how arrivals of an open loop are spread.
        duration_s: how long requests are sent, or become due.
        requests: at most so many; None: as many as there is time for.
        warm_up: requests before, which are not counted.
        max_outstanding: of an open loop: more are counted, and not sent.
        grace_s: how long to wait for answers at the end of an open loop.
    """

    concurrency: int = 8
    rate_per_s: float | None = None
    process: ArrivalProcess = ArrivalProcess.POISSON
    duration_s: float = 10.0
    requests: int | None = None
    warm_up: int = 8
    max_outstanding: int = 1000
    grace_s: float = 10.0


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What came of it.

    Attributes:
        cpu_share: of one core that this process used; near 1 it measured itself.
    """

    measured: list[Measured]
    duration_s: float
    cpu_share: float


def run_bench(
    server: AskedServer,
    mix: Mix,
    material: Material,
    plan: BenchPlan,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> BenchResult:
    """Send the requests of a plan.

    Args:
        mix: draws their tasks.
        material: what they are made of.
        transport: in place of the network.
    """
    return asyncio.run(_run(server, mix, material, plan, transport))


async def _run(
    server: AskedServer, mix: Mix, material: Material, plan: BenchPlan, transport: httpx.AsyncBaseTransport | None
) -> BenchResult:
    base = httpx.URL(server.url)
    headers = {} if server.api_key is None else {"Authorization": f"Bearer {server.api_key}"}
    async with httpx.AsyncClient(
        base_url=base,
        headers=headers,
        timeout=server.timeout_s,
        transport=transport,
        limits=httpx.Limits(max_connections=plan.concurrency, max_keepalive_connections=plan.concurrency),
        trust_env=base.host not in _LOOPBACK,
    ) as http:

        async def send(request: Request) -> str | None:
            return await _post(http, request)

        if plan.warm_up:
            warm = _Loop(send, mix, material, BenchPlan(plan.concurrency, requests=plan.warm_up, duration_s=1e9))
            await warm.closed()
        loop = _Loop(send, mix, material, plan)
        cpu_s = time.process_time()
        await (loop.closed() if plan.rate_per_s is None else loop.open(plan.rate_per_s))
        wall_s = loop.now_s
        return BenchResult(loop.measured, loop.duration_s, (time.process_time() - cpu_s) / wall_s if wall_s else 0.0)


async def _post(http: httpx.AsyncClient, request: Request) -> str | None:
    """Send a request and read all of its answer; says what is wrong with it."""
    try:
        response = await http.post(request.target, content=request.body, headers={"Content-Type": request.content_type})
    except httpx.TimeoutException:
        return "no_answer"
    except httpx.TransportError:
        return "unreachable"
    except httpx.HTTPError:
        return "unexpected_answer"  # such as a body that is not in the encoding that it names
    return fault_of(request, response.status_code, response.content)


@dataclass(slots=True)
class _Loop:
    send: Send
    mix: Mix
    material: Material
    plan: BenchPlan
    measured: list[Measured] = field(default_factory=list)
    duration_s: float = 0.0
    _started: float = field(default_factory=time.perf_counter)
    _waiting: dict[asyncio.Task[None], tuple[str, float, float]] = field(default_factory=dict)

    @property
    def now_s(self) -> float:
        return time.perf_counter() - self._started

    async def closed(self) -> None:
        """Callers that each wait for their answer."""
        numbers = iter(range(self.plan.requests)) if self.plan.requests is not None else None

        async def call() -> None:
            while self.now_s < self.plan.duration_s and (numbers is None or next(numbers, None) is not None):
                task, due_s = self._task(), self.now_s
                await self._one(task, due_s, due_s, None)

        await asyncio.gather(*(call() for _ in range(self.plan.concurrency)))
        self.duration_s = self.now_s

    async def open(self, rate_per_s: float) -> None:
        """Requests that become due at their times; those for whom there is no connection wait for one."""
        room = asyncio.Semaphore(self.plan.concurrency)
        for due_s in self._due(rate_per_s):
            await asyncio.sleep(max(0.0, due_s - self.now_s))
            task, noticed_s = self._task(), self.now_s
            if len(self._waiting) >= self.plan.max_outstanding:
                self.measured.append(Measured(task, due_s, noticed_s, None, None, SHED))
                continue
            sending = asyncio.ensure_future(self._one(task, due_s, noticed_s, room))
            self._waiting[sending] = (task, due_s, noticed_s)
            sending.add_done_callback(lambda done: self._waiting.pop(done, None))
        if self.plan.requests is None:
            await asyncio.sleep(max(0.0, self.plan.duration_s - self.now_s))
        self.duration_s = self.now_s
        if self._waiting:
            await asyncio.wait(list(self._waiting), timeout=self.plan.grace_s)
        left = dict(self._waiting)
        for sending, (task, due_s, noticed_s) in left.items():
            sending.cancel()
            self.measured.append(Measured(task, due_s, noticed_s, None, None, UNANSWERED))
        await asyncio.gather(*left, return_exceptions=True)

    def _task(self) -> str:
        return self.mix.draw(self.material.chance)

    def _due(self, rate_per_s: float) -> Iterator[float]:
        for number, due_s in enumerate(arrival_times(rate_per_s, self.plan.process, self.material.chance)):
            if due_s >= self.plan.duration_s or number == self.plan.requests:
                return
            yield due_s

    async def _one(self, task: str, due_s: float, noticed_s: float, room: asyncio.Semaphore | None) -> None:
        sent_s = None
        try:
            request = TASKS[task].make(self.material)
            async with contextlib.nullcontext() if room is None else room:
                sent_s = self.now_s
                fault = await self.send(request)
        except Exception as error:  # a request that is lost would make the others' figures better
            fault = f"client_fault_{type(error).__name__}"
        self.measured.append(Measured(task, due_s, noticed_s, sent_s, self.now_s, fault))
