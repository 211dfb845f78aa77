"""Prometheus itself: its own check of configuration and rules, and a run in which it scrapes what was started."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import yaml
from questions import QuestionError
from stack import DOCKER, run

_PROMETHEUS = DOCKER / "prometheus"
_EVERY = "2s"
_START_S = 30.0
_FILLED_S = 90.0
_LOOK_S = 1.0
# What Grafana puts in the place of its own variables.
_VARIABLES = {"$__rate_interval": "1m", "$model": ".*"}
# Figures that only a machine with a GPU has; their expressions are run, and may give nothing.
_OF_GPUS = re.compile(r"\bnv_gpu_")


def check_rule_files() -> None:
    """Let promtool check the configuration and the rules, and test what the alerts do."""
    run("promtool", "check", "config", str(_PROMETHEUS / "prometheus.yml"))
    run("promtool", "check", "rules", *(str(_PROMETHEUS / name) for name in ("rules.yml", "alerts.yml")))
    run("promtool", "test", "rules", str(_PROMETHEUS / "alerts_test.yml"))


class Scraper:
    """A Prometheus process with the project's configuration, but with addresses in the place of names.

    Args:
        folder: an empty one, for its data.
        targets: job -> addresses.
    """

    def __init__(self, folder: Path, targets: dict[str, list[str]]) -> None:
        self._folder = folder
        self.targets = targets
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])

    def __enter__(self) -> Self:
        config = yaml.safe_load((_PROMETHEUS / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": _EVERY, "evaluation_interval": _EVERY}
        config["rule_files"] = [str(_PROMETHEUS / name) for name in config["rule_files"]]
        for job in config["scrape_configs"]:
            del job["dns_sd_configs"]
            job["static_configs"] = [{"targets": self.targets[job["job_name"]]}]
        file = self._folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        self._log = (self._folder / "prometheus.log").open("w")
        address, data = f"--web.listen-address=127.0.0.1:{self._port}", f"--storage.tsdb.path={self._folder / 'data'}"
        command = ["prometheus", f"--config.file={file}", address, data]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        self._wait(_START_S, "Prometheus to start", lambda: self._get("/-/ready")[0] == 200)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)
        self._log.close()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now.

        Raises:
            QuestionError: Prometheus does not take it.
        """
        status, body = self._get("/api/v1/query?" + urlencode({"query": expression}))
        if status != 200:
            raise QuestionError(f"{expression}: {body}")
        series: list[dict[str, Any]] = json.loads(body)["data"]["result"]
        return series

    def rule_faults(self) -> list[str]:
        """What went wrong in the evaluation of rules."""
        groups = json.loads(self._get("/api/v1/rules")[1])["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return [f"{rule['name']}: {rule['lastError']}" for rule in rules if rule.get("lastError")]

    def wait_for(self, expressions: list[str], meanwhile: Callable[[], None]) -> list[str]:
        """Wait until each of these gives a series, doing something meanwhile; returns those that never did."""
        empty = list(expressions)
        end = time.monotonic() + _FILLED_S
        while empty and time.monotonic() < end:
            meanwhile()
            time.sleep(_LOOK_S)
            empty = [expression for expression in empty if not _numbers(self.query(expression))]
        return empty

    def _get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except ConnectionError:
            return 0, "nobody listens"
        finally:
            connection.close()

    def _wait(self, seconds: float, what: str, done: Callable[[], bool]) -> None:
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end or self._process.poll() is not None:
                raise QuestionError(f"waited in vain for {what}: {Path(self._log.name).read_text()[-2000:]}")
            time.sleep(_LOOK_S)


def check_expressions(scraper: Scraper, meanwhile: Callable[[], None], gateways: int) -> list[str]:
    """Run every expression of the dashboard, and want a series from each.

    Args:
        meanwhile: asks the servers something, so that there is something to see.
        gateways: how many serve the same models, and so must be added up.

    Returns:
        a few lines on what was seen.

    Raises:
        QuestionError: a target is down, an expression is refused or gives nothing, a rule cannot be evaluated, or a sum
            is not of all gateways.
    """
    dashboard = json.loads((DOCKER / "grafana" / "dashboards" / "vlpserve.json").read_text())
    written = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    expressions = [_filled_in(expression) for expression in written]
    of_gpus = [expression for expression in expressions if _OF_GPUS.search(expression)]
    computed = [expression for expression in expressions if expression not in of_gpus]
    faults = [f"nothing from {one}" for one in scraper.wait_for(computed, meanwhile)]
    for expression in of_gpus:
        scraper.query(expression)
    faults += scraper.rule_faults()
    for job, addresses in scraper.targets.items():
        up = _numbers(scraper.query(f'sum(up{{job="{job}"}})'))
        if up != [len(addresses)]:
            faults.append(f"{job}: {up} of {len(addresses)} answer")
    ready = _numbers(scraper.query('sum by (model) (vlpserve_model_ready{model="scenes-vilt-vqa@1"})'))
    if ready != [gateways]:
        faults.append(f"scenes-vilt-vqa@1 is ready on {ready}, expected {gateways} gateways")
    firing = sorted(one["metric"]["alertname"] for one in scraper.query('ALERTS{alertstate="firing"}'))
    if firing != ["VlpserveAlertsWork"]:
        faults.append(f"alerts fire: {firing}")
    if faults:
        raise QuestionError("\n".join(faults))
    return [f"{len(expressions)} expressions, {len(of_gpus)} of them of GPUs, of which there are none here"]


def _filled_in(expression: str) -> str:
    for name, value in _VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def _numbers(series: list[dict[str, Any]]) -> list[float]:
    """The values that are numbers; 0 / 0 is none."""
    return [number for number in (float(one["value"][1]) for one in series) if number == number]
