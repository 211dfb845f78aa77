"""The load test's options beside locust's own."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from typing import Any

from vlp_loadtest.arrivals import ArrivalProcess

WORKERS = 64
"""Callers of an open loop where --users does not say otherwise."""


def _number(low: float, high: float = 1e9, *, whole: bool = False, exclusive: bool = False) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            value = low - 1
        if not (low <= value <= high) or (exclusive and value in (low, high)):
            raise ArgumentTypeError(f"got {text!r}, expected a number from {low:g} to {high:g}")
        return value

    return read


def add_options(parser: ArgumentParser) -> None:
    """Add them to locust's parser."""
    group: Any = parser.add_argument_group("vlpserve")
    add = group.add_argument
    add("--model", default=None, help="model that is asked; none: the server's default for each task")
    secret: Any = parser.add_argument  # groups know nothing of secrets
    secret("--api-key", default=None, env_var="LOCUST_API_KEY", is_secret=True, help="of the server")
    add("--collection", default=None, help="collection that is searched; none: the server's first one with items")
    add("--bulk-share", type=_number(0, 0.95), default=0.0, help="share of requests that add a picture to --collection")
    add("--pictures", type=_number(0, 10_000_000, whole=True), default=500, help="different ones; 0: each is new")
    add("--skew", type=_number(0, 10), default=1.0, help="of their popularity; 0: all alike, 1: Zipf's")
    add("--seed", type=_number(0, 2**53, whole=True), default=None, help="draws the same load again")
    add("--timeout", type=_number(0, 3600, exclusive=True), default=60.0, help="seconds to wait for an answer")
    loop: Any = parser.add_argument_group("vlpserve, open loop")
    add = loop.add_argument
    add(
        "--rate",
        type=_number(0, 1e6, exclusive=True),
        default=None,
        env_var="LOCUST_RATE",
        help=f"requests a second that become due whatever the server does; --users then sends them ({WORKERS})",
    )
    add("--arrivals", choices=[str(one) for one in ArrivalProcess], default="poisson", help="how they are spread")
    add("--max-outstanding", type=_number(1, 1e6, whole=True), default=1000, help="more are counted, and not sent")
    add("--grace", type=_number(0, 3600), default=10.0, help="seconds to wait for answers when the time is over")
    result: Any = parser.add_argument_group("vlpserve, result")
    add = result.add_argument
    add("--report-json", default=None, help="file for the figures")
    add("--report-html", default=None, help="file for the page")
    add("--max-p99-ms", type=_number(0), default=None, help="code 1 where the p99 of the latency is above")
    add("--max-error-share", type=_number(0, 1), default=None, help="code 1 where more have no good answer")
    add("--min-rate", type=_number(0), default=None, help="code 1 where there are fewer good answers a second")
