"""make check-system, the part of containers: builds the images, runs gateway and Triton, asks, loads and scrapes them.

    .venv/bin/python docker/check

It needs podman, and Prometheus with promtool; takes some minutes, and takes down what it put up, also where it fails.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from looks import look_at_image, look_at_rights
from questions import ask_everything, ask_something, ask_wrongly, wait_ready
from scraping import Scraper, check_expressions, check_rule_files
from stack import IMAGES, Stack, build_images, find_program

NEEDED = ("podman", "podman-compose", "prometheus", "promtool")
LOAD_S = 20


class Report:
    """What passed and what did not."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """A step, which says what it found; a fault is written down, and the next step goes on."""
        said: list[str] = []
        try:
            yield said.append
        except Exception as error:
            self.failed += 1
            text = f"{error!r}\n{getattr(error, 'stdout', '') or ''}{getattr(error, 'stderr', '') or ''}"
            print(f"FAILED {name}: {text.strip()}", flush=True)
        else:
            self.passed += 1
            print(f"ok     {name}" + "".join(f"\n         {line}" for line in said), flush=True)


def main() -> int:
    """Do all steps.

    Returns:
        0 where all passed, 1 where one failed, 2 where a program is missing.
    """
    if missing := [name for name in NEEDED if find_program(name) is None]:
        print(f"not run, missing: {', '.join(missing)} (Debian's packages podman and prometheus, and make setup)")
        return 2
    signal.signal(signal.SIGTERM, _leave)
    report = Report()
    with report.step("promtool: configuration, rules, and what the alerts do"):
        check_rule_files()
    with report.step("images build"):
        build_images()
    if not report.failed:
        with tempfile.TemporaryDirectory(prefix="vlpserve-check-") as folder, Stack() as stack:
            _run(report, stack, Path(folder))
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


def _run(report: Report, stack: Stack, folder: Path) -> None:
    with report.step("sizes of images") as say:
        for name in IMAGES:
            say(look_at_image(f"vlpserve-{name}"))
    with report.step("gateway and Triton come up by compose"):
        stack.up()
        wait_ready(stack.url)
    if report.failed:
        stack.print_logs()
        return
    with report.step("every task of every model, by the published port") as say:
        for line in ask_everything(stack.url):
            say(line)
        ask_something(stack.grpc_url)
    with report.step("no torch, no root, nothing to write on") as say:
        say(look_at_rights(stack.container("gateway"), absent=("torch", "onnxruntime", "transformers")))
        say(look_at_rights(stack.container("triton"), absent=("torch", "transformers")))
    with report.step("a second gateway, and one without Triton"):
        stack.up_more()
        for url in stack.more_urls:
            wait_ready(url)
    with report.step("the dashboard's expressions, under load") as say, Scraper(folder, stack.targets()) as scraper:
        say(stack.load(LOAD_S))
        for line in check_expressions(scraper, lambda: _keep_asking(stack), gateways=2):
            say(line)
    if report.failed:
        stack.print_logs()


def _keep_asking(stack: Stack) -> None:
    """A little of everything to all gateways: a rate needs counters that go on counting."""
    for url in (stack.url, *stack.more_urls):
        ask_something(url)
        ask_wrongly(url)


def _leave(number: int, _: object) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
