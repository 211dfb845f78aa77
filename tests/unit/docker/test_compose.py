"""Compose files and Dockerfiles as texts: nothing runs with more rights than it needs, no variable is unknown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from vlp_cli.main import cli
from vlp_server.config import ServerConfig
from vlp_server.config.schema import settings_of

DOCKER = Path(__file__).parents[3] / "docker"
COMPOSE_FILES = sorted(DOCKER.glob("*compose*.yml"))
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
NEW_SERVICES = [
    pytest.param(name, service, id=f"{path.stem}-{name}")
    for path in COMPOSE_FILES
    for name, service in yaml.safe_load(path.read_text())["services"].items()
    # An overlay adds to a service that docker-compose.yml describes.
    if path.name == "docker-compose.yml" or name not in ("repository", "triton", "gateway")
]


def known_variables() -> set[str]:
    return {setting.variable for setting in settings_of(ServerConfig)}


def test_all_files_are_looked_at() -> None:
    assert {path.name for path in COMPOSE_FILES} == {
        "docker-compose.yml",
        "compose.gpu.yml",
        "compose.keys.yml",
        "compose.loadtest.yml",
        "compose.manage.yml",
        "compose.monitoring.yml",
    }
    assert len(DOCKERFILES) == 5


@pytest.mark.parametrize(("name", "service"), NEW_SERVICES)
def test_a_service_has_no_more_rights_than_it_needs(name: str, service: dict[str, Any]) -> None:
    assert service["read_only"], name
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "restart" in service


@pytest.mark.parametrize(("name", "service"), NEW_SERVICES)
def test_what_runs_on_has_limits_and_is_reached_from_this_machine_alone(name: str, service: dict[str, Any]) -> None:
    if name != "repository":
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert all("127.0.0.1" in port for port in service.get("ports", []))


def test_models_on_triton_are_fixed_unless_a_secret_lets_the_gateway_manage_them() -> None:
    plain, manage = (
        yaml.safe_load((DOCKER / name).read_text())["services"] for name in ("docker-compose.yml", "compose.manage.yml")
    )
    assert "--explicit" not in plain["triton"]["command"]
    assert "ports" not in plain["triton"]
    command = manage["triton"]["command"]
    assert "--explicit" in command
    file = command[command.index("--control-secret-file") + 1]
    assert manage["gateway"]["environment"] == {
        "VLPSERVE_ENGINE_TRITON_MANAGE": "true",
        "VLPSERVE_ENGINE_TRITON_CONTROL_SECRET_FILE": file,
    }
    (secret,) = manage["triton"]["secrets"]
    assert manage["gateway"]["secrets"] == [secret]
    assert file == f"/run/secrets/{secret}"


@pytest.mark.parametrize("path", COMPOSE_FILES, ids=lambda path: path.stem)
def test_variables_are_settings_of_the_server(path: Path) -> None:
    services = yaml.safe_load(path.read_text())["services"].values()
    given = {name for service in services for name in service.get("environment", {}) if name.startswith("VLPSERVE_")}
    assert given <= known_variables()


@pytest.mark.parametrize("path", COMPOSE_FILES, ids=lambda path: path.stem)
def test_what_is_built_and_mounted_exists(path: Path) -> None:
    for service in yaml.safe_load(path.read_text())["services"].values():
        if build := service.get("build"):
            context = (DOCKER / build["context"]).resolve()
            assert (context / build["dockerfile"]).is_file()
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DOCKER / source).is_dir()


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_runs_as_a_fixed_user_and_starts_without_a_shell(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
    assert re.search(r'^ENTRYPOINT \["(vlpserve|locust)"\]$', text, re.MULTILINE)
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert all(re.search(r":[^:]*\d", base) and not base.endswith(":latest") for base in bases)
    assert set(re.findall(r"\b(VLPSERVE_\w+)=", text)) <= known_variables()


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_what_an_image_copies_is_let_through(path: Path) -> None:
    rules = (DOCKER.parent / ".dockerignore").read_text().splitlines()
    let_through = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", path.read_text(), re.MULTILINE)
    for source in " ".join(copies).split():
        assert (DOCKER.parent / source).exists()
        assert any(rule == source or rule.startswith(f"{source}/") for rule in let_through), source


@pytest.mark.parametrize("path", COMPOSE_FILES, ids=lambda path: path.stem)
def test_commands_of_services_are_commands_of_vlpserve(path: Path) -> None:
    for service in yaml.safe_load(path.read_text())["services"].values():
        if not str(service.get("image", "vlpserve-")).startswith("vlpserve-") or "command" not in service:
            continue
        name, *rest = service["command"]
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, name
        # Reads the arguments, and runs nothing.
        assert command.make_context(name, list(rest)).params
