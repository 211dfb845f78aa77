"""One run of locust: what the server can be asked, before it; report and thresholds, after it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from vlp_loadtest.arrivals import ArrivalProcess
from vlp_loadtest.dispatcher import Dispatcher
from vlp_loadtest.look_up import Refused, Unreachable, look_up, server_base
from vlp_loadtest.mix import Mix, chosen_weights, served_tasks
from vlp_loadtest.options import WORKERS
from vlp_loadtest.pictures import Pictures
from vlp_loadtest.report import build_report, report_html, report_json
from vlp_loadtest.shown import one_line
from vlp_loadtest.task_requests import Material
from vlp_loadtest.thresholds import Thresholds
from vlp_loadtest.users import Caller, ClosedLoopUser, MixedUser, OpenLoopUser, Run, new_chance

FAILED, NOTHING_TO_ASK, UNREACHABLE = 1, 2, 3
_SPAWN_RATE = 100
_OF_ALL = ("max_p99_ms", "max_error_share", "min_rate", "report_json", "report_html")
"""Options that no one of several processes can keep, since each knows its own requests alone."""


class Session:
    """Listens to locust's events.

    Args:
        environment: locust's.
    """

    def __init__(self, environment: Any) -> None:
        self._environment = environment
        self._options = environment.parsed_options
        self._run: Run | None = None
        self._cpu_s = self._began = 0.0

    def prepare(self) -> None:
        """Ask the server for its tasks, and choose the users. Ends the process where there is nothing to ask."""
        options = self._options
        if not self._environment.host:
            _leave(NOTHING_TO_ASK, "no server: give --host")
        if options.rate is not None and (options.master or options.worker or options.processes):
            _leave(NOTHING_TO_ASK, "--rate: one process alone; start several where one cannot keep up")
        if (options.master or options.worker or options.processes) and any(
            getattr(options, one) is not None for one in _OF_ALL
        ):
            _leave(NOTHING_TO_ASK, "bounds and reports are of one process alone; start several with their own")
        headers = {"Authorization": f"Bearer {options.api_key}"} if options.api_key else {}
        collection = options.collection or self._first_collection(headers)
        served = served_tasks(self._get("/v1/models", headers).get("data", ()), options.model)
        weights = chosen_weights(served, wanted=self._wanted(), collection=collection, bulk_share=options.bulk_share)
        for name in options.exclude_tags or ():
            weights.pop(name, None)
        if not weights:
            _leave(NOTHING_TO_ASK, f"nothing to ask: the server does {', '.join(sorted(served)) or 'nothing'}")
        chance = new_chance(options.seed)
        pictures = Pictures(chance, count=options.pictures, skew=options.skew)
        self._run = Run(Mix(weights), Material(chance, pictures, options.model, collection), headers)
        self._choose_users(self._run)

    def begin(self) -> None:
        """The users are there."""
        if self._run is not None and self._run.dispatcher is not None:
            self._run.dispatcher.start()

    def count(self) -> None:
        """The test starts: from here on the client's own work is counted."""
        self._cpu_s, self._began = time.process_time(), time.perf_counter()
        if self._run is not None and self._run.dispatcher is None:
            self._run.closed.start()

    def halt(self) -> None:
        """The time is over: nothing more becomes due, and what is under way may end."""
        if self._run is not None:
            self._run.loop.end(self._options.grace)

    def close(self) -> None:
        """Write the report, and say whether the bounds were kept."""
        run, options = self._run, self._options
        if run is None:
            return
        if options.master:  # its workers have measured
            if not self._environment.runner.stats.total.num_requests:
                self._environment.process_exit_code = FAILED
            return
        self.halt()  # where the run was interrupted
        wall_s = time.perf_counter() - self._began
        cpu_share = (time.process_time() - self._cpu_s) / wall_s if wall_s > 0 else 0.0
        report = build_report(
            run.loop.measured, duration_s=run.loop.duration_s, cpu_share=cpu_share, load=self._load(run)
        )
        missed = Thresholds(options.max_p99_ms, options.max_error_share, options.min_rate).missed(report["total"])
        report["missed"] = missed
        if options.report_json:
            Path(options.report_json).write_text(report_json(report), encoding="utf-8")
        if options.report_html:
            Path(options.report_html).write_text(report_html(report, missed), encoding="utf-8")
        _tell(report)
        if missed:
            self._environment.process_exit_code = FAILED
        elif options.max_error_share is not None:
            self._environment.process_exit_code = 0  # so many errors were allowed
        elif report["total"]["ok"] < report["total"]["requests"]:
            # Locust itself knows nothing of what was shed or never answered.
            self._environment.process_exit_code = options.exit_code_on_error

    def _choose_users(self, run: Run) -> None:
        options = self._options
        Caller.run_of = run
        Caller.network_timeout = Caller.connection_timeout = options.timeout
        options.tags = options.exclude_tags = None  # done with; locust would take them for names of its own
        if options.rate is not None:
            run.dispatcher = Dispatcher(
                options.rate,
                ArrivalProcess(options.arrivals),
                lambda: run.mix.draw(run.material.chance),
                max_outstanding=options.max_outstanding,
                chance=new_chance(options.seed),
            )
            options.num_users = options.num_users or WORKERS
            options.spawn_rate = max(options.num_users, _SPAWN_RATE)
            self._environment.user_classes = [OpenLoopUser]
            return
        named = [one for one in self._named_users() if one.only in run.mix.weights]
        self._environment.user_classes = named or [MixedUser]

    def _named_users(self) -> list[type[ClosedLoopUser]]:
        named = set(self._options.user_classes or ())
        return [one for one in self._environment.user_classes if one.__name__ in named]

    def _wanted(self) -> set[str]:
        return {one.only for one in self._named_users() if one.only} | set(self._options.tags or ())

    def _first_collection(self, headers: dict[str, str]) -> str | None:
        try:
            found = look_up(self._base(), "/v1/collections", headers)
        except (Refused, Unreachable):
            return None  # where there is no server, the list of models says so
        names = [str(one["name"]) for one in found.get("collections", ()) if one["items"]]
        return names[0] if names else None

    def _get(self, path: str, headers: dict[str, str]) -> dict[str, Any]:
        """A document of the server; ends the process where it is not to be had."""
        try:
            return look_up(self._base(), path, headers)
        except Refused as error:
            _leave(FAILED, str(error))
        except Unreachable as error:
            _leave(UNREACHABLE, str(error))

    def _base(self) -> str:
        try:
            return server_base(self._environment.host)
        except ValueError as error:
            _leave(NOTHING_TO_ASK, f"--host {error}")

    def _load(self, run: Run) -> dict[str, Any]:
        options = self._options
        load: dict[str, Any] = {"host": self._environment.host, "users": options.num_users}
        if options.rate is not None:
            load |= {"loop": "open", "rate": options.rate, "arrivals": options.arrivals}
            load |= {"max_outstanding": options.max_outstanding}
        else:
            load |= {"loop": "closed"}
        load |= {"pictures": options.pictures, "skew": options.skew, "bulk_share": options.bulk_share}
        total = sum(run.mix.weights.values())
        return load | {"mix": {name: round(weight / total, 4) for name, weight in run.mix.weights.items()}}


def _tell(report: dict[str, Any]) -> None:
    """The outcome in few words, on standard error: locust may write JSON to standard output."""
    total = report["total"]
    times = ", ".join(
        f"{name} {'-' if value is None else f'{value:.0f} ms'}" for name, value in total["latency_ms"].items()
    )
    lines = [
        f"{total['ok']} of {total['requests']} answered, {total['failed']} failed, {total['shed']} shed, "
        f"{total['unanswered']} unanswered; {total['rate_per_s']:.2f}/s; {times}"
    ]
    if not report["client"]["kept_up"]:
        lines.append("the client could not keep up: these figures are not the server's alone")
    lines += [f"missed: {reason}" for reason in report["missed"]]
    print("\n".join(map(one_line, lines)), file=sys.stderr)  # noqa: T201


def _leave(code: int, words: str) -> NoReturn:
    print(one_line(words), file=sys.stderr)  # noqa: T201
    sys.exit(code)
