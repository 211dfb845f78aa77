"""Rules, alerts and dashboard name figures that there are; what they compute is promtool's test (make check-system)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from vlp_server.core.metrics import Metrics
from vlp_server.http.door_metrics import DoorMetrics

DOCKER = Path(__file__).parents[3] / "docker"
PROMETHEUS = DOCKER / "prometheus"
_NAME = re.compile(r"(?<![\w:])(?:[a-z]+:)?(?:vlpserve|nv)_\w+(?::\w+)?|(?<![\w:])vlpserve:\w+:\w+")


def own_figures() -> set[str]:
    registries: list[CollectorRegistry] = [Metrics().registry, DoorMetrics().registry]
    names: set[str] = set()
    for registry in registries:
        for family in registry.collect():
            suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
            names |= {family.name + suffix for suffix in suffixes[family.type]}
    return names


def recorded() -> dict[str, str]:
    groups = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
    return {rule["record"]: rule["expr"] for group in groups for rule in group["rules"]}


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def dashboard_expressions() -> list[str]:
    dashboard = json.loads((DOCKER / "grafana" / "dashboards" / "vlpserve.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def every_expression() -> list[str]:
    return [*recorded().values(), *(alert["expr"] for alert in alerts().values()), *dashboard_expressions()]


@pytest.mark.parametrize("expression", every_expression())
def test_an_expression_names_figures_that_there_are(expression: str) -> None:
    without_labels = re.sub(r"\{[^}]*\}", "", expression)
    names = set(_NAME.findall(without_labels))
    ours = {name for name in names if not name.startswith("nv_")}
    assert ours <= own_figures() | set(recorded())


@pytest.mark.parametrize("expression", every_expression())
def test_an_expression_is_of_all_instances_together(expression: str) -> None:
    """Every raw figure stands inside of an aggregation; what is recorded has been aggregated already."""
    assert "instance" not in expression or "avg by (model) (sum by (model, instance)" in expression
    raw = [name for name in _NAME.findall(expression) if ":" not in name]
    if raw or "up{" in expression:
        assert re.search(r"\b(sum|count|avg|max|min|absent)\b", expression)


def test_every_recorded_figure_is_used() -> None:
    used = " ".join([*(alert["expr"] for alert in alerts().values()), *dashboard_expressions()])
    rules = " ".join(recorded().values())
    assert [name for name in recorded() if name not in used and name not in rules] == []


def test_every_alert_is_tested_and_says_what_is_wrong() -> None:
    tested = (PROMETHEUS / "alerts_test.yml").read_text()
    for name, alert in alerts().items():
        assert name in tested
        assert alert["labels"]["severity"] in ("page", "ticket", "none")
        assert alert["annotations"]["summary"]


def test_every_panel_has_a_place_of_its_own() -> None:
    dashboard = json.loads((DOCKER / "grafana" / "dashboards" / "vlpserve.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + right, place["y"] + down) for right in range(place["w"]) for down in range(place["h"])}
        assert not taken & cells
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
