"""Images and containers, by podman and podman-compose, under names of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

DOCKER = Path(__file__).parents[1]
IMAGES = ("gateway", "triton-cpu", "loadtest")
PROJECT = "vlpserve-check"
_UP_S = 300
_BUILD_S = 900
_HARDENED = (
    "--read-only",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--tmpfs=/tmp",
    "--env=VLPSERVE_COLLECTIONS_ENABLED=false",
)


def find_program(name: str) -> str | None:
    """Where a program lies: in this environment, where a package of Python's brings it, or on the PATH."""
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return shutil.which(name, path=os.pathsep.join(folders))


def run(*command: str, timeout_s: float = 60, environment: dict[str, str] | None = None) -> str:
    """What a command prints; one that fails is raised with what it said."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=True,
        env={**os.environ, **(environment or {})},
        cwd=DOCKER.parent,
    )
    return done.stdout.strip()


def build_images() -> None:
    """Build the images that can be built without a GPU's base images.

    Isolation by chroot and the host's network work where podman itself runs in a container, and elsewhere, too.
    """
    for name in IMAGES:
        file = f"docker/{name}.Dockerfile"
        options = ("--isolation=chroot", "--network=host", "--format=docker", "--layers=false")
        before = run("podman", "images", "--quiet", f"vlpserve-{name}")
        run("podman", "build", *options, "-f", file, "-t", f"vlpserve-{name}", ".", timeout_s=_BUILD_S)
        # What the new one replaces would lie about without a name; one that is in use stays.
        if before:
            subprocess.run(["podman", "image", "rm", before], capture_output=True, check=False)


class Stack:
    """The services of docker-compose.yml and two gateways more; gone after `with`, volumes and all."""

    def __init__(self) -> None:
        ports = [_free_port() for _ in range(3)]
        self._grpc_address = f"127.0.0.1:{_free_port()}"
        self.grpc_url = f"grpc://{self._grpc_address}"
        self.url, *self.more_urls = (f"http://127.0.0.1:{port}" for port in ports)
        self._address, *self._more_addresses = (f"127.0.0.1:{port}" for port in ports)
        self._more = [f"{PROJECT}-second", f"{PROJECT}-embedded"]

    def __enter__(self) -> Self:
        self._down()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._down()

    def up(self) -> None:
        """Bring up what docker-compose.yml has."""
        self._compose("up", "-d", "--no-build", timeout_s=_UP_S)

    def up_more(self) -> None:
        """A second gateway over the same Triton, and one whose models run inside of it."""
        commands = (
            ("serve", "--engine", "triton", "--repository", "/repository", "--triton-url", "triton:8001"),
            ("serve", "dummy", "dummy-captioner"),
        )
        for name, address, command in zip(self._more, self._more_addresses, commands, strict=True):
            mine = (f"--name={name}", f"--network={PROJECT}_default", f"--publish={address}:8080")
            volume = f"--volume={PROJECT}_repository:/repository:ro"
            run("podman", "run", "-d", *mine, *_HARDENED, volume, "vlpserve-gateway", *command)

    def load(self, seconds: int) -> str:
        """Load the gateway by the load test's image; returns its last line of figures."""
        environment = {"LOAD_RUN_TIME": f"{seconds}s", "LOAD_USERS": "4"}
        said = self._compose(
            "--profile=loadtest", "run", "--rm", "loadtest", timeout_s=seconds + 120, environment=environment
        )
        return next(line.strip() for line in said.splitlines() if "Aggregated" in line)

    def container(self, service: str) -> str:
        """Name of a service's container."""
        return f"{PROJECT}_{service}_1"

    def targets(self) -> dict[str, list[str]]:
        """Addresses to scrape by job: both gateways over Triton and the one without, and Triton."""
        gateways = [self.container("gateway"), *self._more]
        return {
            "gateway": [f"{_address_of(name)}:8080" for name in gateways],
            "triton": [f"{_address_of(self.container('triton'))}:8002"],
        }

    def print_logs(self) -> None:
        """The ends of all logs, to see why something failed."""
        for name in (*map(self.container, ("repository", "triton", "gateway")), *self._more):
            done = subprocess.run(["podman", "logs", "--tail=30", name], capture_output=True, text=True, check=False)
            print(f"--- {name}\n{done.stdout}{done.stderr}", flush=True)

    def _compose(self, *arguments: str, timeout_s: float = 120, environment: dict[str, str] | None = None) -> str:
        files = ("docker-compose.yml", "compose.loadtest.yml")
        chosen = [part for file in files for part in ("-f", str(DOCKER / file))]
        published = {"GATEWAY_ADDRESS": self._address, "GATEWAY_GRPC_ADDRESS": self._grpc_address}
        given = {**published, **(environment or {})}
        program = find_program("podman-compose") or "podman-compose"
        return run(program, "-p", PROJECT, *chosen, *arguments, timeout_s=timeout_s, environment=given)

    def _down(self) -> None:
        for name in self._more:
            subprocess.run(["podman", "rm", "--force", "--volumes", "--time=5", name], capture_output=True, check=False)
        try:
            self._compose("down", "-v", "--timeout", "10")
        except subprocess.SubprocessError as error:
            print(f"taking down: {error}\n{getattr(error, 'stderr', '')}", flush=True)


def _address_of(container: str) -> str:
    """A container's address on the network of the project, which this machine reaches, too."""
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return run("podman", "inspect", "--format", template, container)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
