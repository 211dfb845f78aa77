"""The built wheels alone, in an environment of their own: they serve the shipped model, and bring no torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from server_process import ServerProcess
from vlp_client import Client
from vlp_zoo import zoo_path

ROOT = Path(__file__).parents[2]
_NOT_SOURCE = shutil.ignore_patterns(".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", ".*_cache")


def _left_out(folder: str, names: list[str]) -> set[str]:
    """What is no source; at the top also the folders of data and runs that a person may have there."""
    return {*_NOT_SOURCE(folder, names), *({"data", "runs", "repository"} if Path(folder) == ROOT else ())}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment with nothing but the wheels and what they ask for."""
    folder = tmp_path_factory.mktemp("wheels")
    source, wheels, environment = folder / "source", folder / "dist", folder / "environment"
    shutil.copytree(ROOT, source, ignore=_left_out)
    for project in (source / "clients" / "python", source):
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(project)]
        subprocess.run(build, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    made = environment / "bin" / "python"
    client, server = sorted(wheels.glob("vlpserve_client-*.whl")), sorted(wheels.glob("vlpserve-*.whl"))
    install = [str(made), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install += ["-c", str(ROOT / "constraints.txt"), str(client[0]), f"{server[0]}[cpu]"]
    subprocess.run(install, check=True, capture_output=True, cwd=folder)
    return made


def test_the_wheels_serve_the_shipped_model(python: Path, tmp_path: Path) -> None:
    with ServerProcess(tmp_path, python=str(python)) as server, Client(server.url) as client:
        assert client.ready()
        picture = sorted((zoo_path() / "samples").glob("*.jpg"))[0]
        answers = client.vqa(picture, "what color is the boat?").answers
        assert len(answers) == 5
        assert 0 < answers[0].score <= 1


def test_a_serving_environment_has_neither_torch_nor_transformers(python: Path) -> None:
    listed = subprocess.run([str(python), "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout
    names = {line.split()[0].lower() for line in listed.splitlines() if line.strip()}
    assert {"vlpserve", "vlpserve-client", "onnxruntime"} <= names
    assert not names & {"torch", "transformers", "onnx", "accelerate"}
