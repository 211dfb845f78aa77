"""The chart, rendered by Helm itself and held against Kubernetes' own schemas; no cluster is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm_python.chart import Chart, lint
from helm_python.errors import HelmError
from vlp_server.config import ServerConfig
from vlp_server.config.schema import settings_of

DOCKER = Path(__file__).parents[3] / "docker"
CHART = DOCKER / "helm" / "vlpserve"
OPERATOR_KINDS = ("ServiceMonitor", "PrometheusRule")
VARIANTS: Mapping[str, dict[str, Any]] = {
    "as it comes": {},
    "everything": {
        "gateway": {"autoscaling": {"enabled": True}, "service": {"type": "LoadBalancer"}},
        "triton": {"autoscaling": {"enabled": True}, "gpus": 1, "controlSecret": "control"},
        "repository": {"existingClaim": "models"},
        "settings": {"http.max_in_flight_bytes": 67108864, "batch.max_padding_waste": 0.5, "log.access": True},
        "access": {"existingSecret": "keys"},
        "collections": {"milvus": "http://milvus:19530", "picturesUrl": "s3://bucket/p", "tokenSecret": "milvus"},
        "networkPolicy": {
            "gatewayFrom": [{"namespaceSelector": {"matchLabels": {"name": "web"}}}],
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
            "gatewayEgress": [{"ports": [{"port": 19530}]}],
        },
        "monitoring": {"serviceMonitor": True, "prometheusRule": True, "labels": {"release": "prometheus"}},
    },
    "closed less": {"networkPolicy": {"enabled": False}, "gateway": {"autoscaling": {"requestsInside": None}}},
}


@pytest.fixture(scope="module")
def chart() -> Iterator[Chart]:
    with Chart.load(CHART) as loaded:
        yield loaded


def rendered(chart: Chart, values: dict[str, Any]) -> list[dict[str, Any]]:
    manifests = chart.render(values, name="demo", namespace="models")
    texts = [text for name, text in manifests.items() if not name.endswith(".txt")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def one(documents: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in documents if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def pod_specs(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each["spec"]["template"]["spec"] for each in documents if each["kind"] in ("Deployment", "StatefulSet")]


def environment(documents: list[dict[str, Any]]) -> dict[str, Any]:
    (container,) = one(documents, "Deployment", "demo-gateway")["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


def test_helm_finds_no_fault() -> None:
    report = lint(CHART, strict=True)
    assert not report["errors"]
    assert all(message["severity"] < 2 for message in report["messages"])


@pytest.mark.parametrize("version", ["1.28", "1.33"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_manifest_fits_the_schema_of_kubernetes(chart: Chart, variant: str, version: str) -> None:
    documents = [each for each in rendered(chart, VARIANTS[variant]) if each["kind"] not in OPERATOR_KINDS]
    assert len(documents) >= 6
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)


def test_the_schema_check_finds_a_field_that_there_is_not(chart: Chart) -> None:
    deployment = one(rendered(chart, {}), "Deployment", "demo-gateway")
    deployment["spec"]["template"]["spec"]["containers"][0]["portz"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, "1.33", strict=True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_pod_has_more_rights_than_it_needs(chart: Chart, variant: str) -> None:
    specs = pod_specs(rendered(chart, VARIANTS[variant]))
    assert len(specs) == 2
    for spec in specs:
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"]
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_volumes_that_are_mounted_exist(chart: Chart, variant: str) -> None:
    for spec in pod_specs(rendered(chart, VARIANTS[variant])):
        volumes = {volume["name"] for volume in spec["volumes"]}
        mounted = {
            mount["name"]
            for container in [*spec["containers"], *spec.get("initContainers", [])]
            for mount in container["volumeMounts"]
        }
        assert mounted == volumes


@pytest.mark.parametrize("variant", VARIANTS)
def test_selectors_select_the_pods(chart: Chart, variant: str) -> None:
    documents = rendered(chart, VARIANTS[variant])
    for kind, name in (("Deployment", "demo-gateway"), ("StatefulSet", "demo-triton")):
        labels = one(documents, kind, name)["spec"]["template"]["metadata"]["labels"].items()
        assert one(documents, kind, name)["spec"]["selector"]["matchLabels"].items() <= labels
        assert one(documents, "Service", name)["spec"]["selector"].items() <= labels
        assert one(documents, "PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"].items() <= labels


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_gateways_start_with_the_variables_that_they_are_given(chart: Chart, variant: str) -> None:
    known = {setting.variable for setting in settings_of(ServerConfig)}
    documents = rendered(chart, VARIANTS[variant])
    assert set(environment(documents)) <= known
    # Kubernetes would otherwise add VLPSERVE_GATEWAY_PORT and others, which are none of ours.
    assert all(spec["enableServiceLinks"] is False for spec in pod_specs(documents))


def test_settings_arrive_as_they_were_written(chart: Chart) -> None:
    given = environment(rendered(chart, VARIANTS["everything"]))
    assert given["VLPSERVE_HTTP_MAX_IN_FLIGHT_BYTES"] == "67108864"
    assert given["VLPSERVE_BATCH_MAX_PADDING_WASTE"] == "0.5"
    assert given["VLPSERVE_LOG_ACCESS"] == "true"


def test_gateways_know_every_triton_server_that_there_may_be(chart: Chart) -> None:
    values = {"triton": {"replicas": 2}}
    urls = environment(rendered(chart, values))["VLPSERVE_ENGINE_TRITON_URLS"]
    assert urls == "demo-triton-0.demo-triton:8001,demo-triton-1.demo-triton:8001"
    values = {"triton": {"autoscaling": {"enabled": True, "maxReplicas": 3}}}
    documents = rendered(chart, values)
    assert environment(documents)["VLPSERVE_ENGINE_TRITON_URLS"].count(",") == 2
    assert one(documents, "Service", "demo-triton")["spec"]["clusterIP"] == "None"
    # The autoscaler's word would otherwise be overruled at each upgrade.
    assert "replicas" not in one(documents, "StatefulSet", "demo-triton")["spec"]


def test_collections_need_milvus(chart: Chart) -> None:
    assert environment(rendered(chart, {}))["VLPSERVE_COLLECTIONS_ENABLED"] == "false"
    assert environment(rendered(chart, VARIANTS["everything"]))["VLPSERVE_COLLECTIONS_PLACE"] == "http://milvus:19530"


def test_triton_is_reached_by_gateways_alone(chart: Chart) -> None:
    documents = rendered(chart, {})
    policy = one(documents, "NetworkPolicy", "demo-triton")["spec"]
    asked = [rule for rule in policy["ingress"] if {"protocol": "TCP", "port": "grpc"} in rule["ports"]]
    gateways = one(documents, "NetworkPolicy", "demo-gateway")["spec"]["podSelector"]
    assert [rule["from"] for rule in asked] == [[{"podSelector": gateways}]]
    assert policy["egress"] == []


def test_models_on_triton_are_fixed_unless_a_secret_lets_the_gateways_manage_them(chart: Chart) -> None:
    def arguments(documents: list[dict[str, Any]]) -> list[str]:
        (container,) = one(documents, "StatefulSet", "demo-triton")["spec"]["template"]["spec"]["containers"]
        given: list[str] = container["args"]
        return given

    documents = rendered(chart, {})
    assert "--explicit" not in arguments(documents)
    assert "VLPSERVE_ENGINE_TRITON_MANAGE" not in environment(documents)
    documents = rendered(chart, VARIANTS["everything"])
    file = "/etc/vlpserve/control/secret"
    assert arguments(documents)[-3:] == ["--explicit", "--control-secret-file", file]
    assert environment(documents)["VLPSERVE_ENGINE_TRITON_CONTROL_SECRET_FILE"] == file
    assert environment(documents)["VLPSERVE_ENGINE_TRITON_MANAGE"] == "true"
    for spec in pod_specs(documents):
        (volume,) = [volume for volume in spec["volumes"] if volume["name"] == "control"]
        assert volume["secret"]["secretName"] == "control"


def test_keys_and_gpus_are_there_when_they_are_asked_for(chart: Chart) -> None:
    documents = rendered(chart, VARIANTS["everything"])
    assert environment(documents)["VLPSERVE_ACCESS_KEYS_FILE"] == "/etc/vlpserve/access/keys"
    (container,) = one(documents, "StatefulSet", "demo-triton")["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["resources"]["limits"]["memory"] == "8Gi"


def test_the_operator_gets_the_same_rules_as_prometheus(chart: Chart) -> None:
    documents = rendered(chart, VARIANTS["everything"])
    groups = [
        group
        for name in ("rules.yml", "alerts.yml")
        for group in yaml.safe_load((DOCKER / "prometheus" / name).read_text())["groups"]
    ]
    assert one(documents, "PrometheusRule", "demo")["spec"]["groups"] == groups
    monitors = [each for each in documents if each["kind"] == "ServiceMonitor"]
    for monitor in monitors:
        service = one(documents, "Service", monitor["metadata"]["name"])
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        ports = {port["name"] for port in service["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports
        # The alerts know the jobs by these names.
        assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] in ("gateway", "triton")
    assert len(monitors) == 2


def test_autoscalers_read_what_the_adapter_serves(chart: Chart) -> None:
    adapter = yaml.safe_load((DOCKER / "helm" / "adapter-values.yaml").read_text())
    served = {rule["name"]["as"] for rule in adapter["rules"]["custom"]}
    documents = rendered(chart, VARIANTS["everything"])
    scalers = [each["spec"] for each in documents if each["kind"] == "HorizontalPodAutoscaler"]
    read = {metric["pods"]["metric"]["name"] for each in scalers for metric in each["metrics"] if "pods" in metric}
    assert read == served


@pytest.mark.parametrize(
    "values",
    [
        {"gatway": {}},
        {"gateway": {"replica": 3}},
        {"triton": {"replicas": 0}},
        {"settings": {"HTTP PORT": 1}},
        {"collections": {"milvus": "http://milvus:19530"}},
    ],
)
def test_values_that_mean_nothing_are_refused(chart: Chart, values: dict[str, Any]) -> None:
    with pytest.raises(HelmError):
        chart.validate_schema(values)


def test_a_drain_ends_before_the_pod_is_killed(chart: Chart) -> None:
    spec = one(rendered(chart, {}), "Deployment", "demo-gateway")["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] >= ServerConfig().http.drain_timeout_s + 10
