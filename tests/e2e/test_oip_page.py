"""Every example of docs/oip.md runs as it stands, but for ports."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_process import ServerProcess
from vlp_server.core.settings import CoreSettings, EngineSettings, ModelSettings
from vlp_zoo import zoo_path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from oip_rig import OipServer

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "oip.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
HTTP, GRPC = "127.0.0.1:8080", "127.0.0.1:8081"
PROGRAMS = [body for language, body in BLOCKS if language == "python"]
# Not run: NVIDIA's perf_analyzer comes in one old wheel that the development environment does not have.
NOT_RUN = 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("oip-page"), VLPSERVE_ENGINE_THREADS="1") as server:
        yield server


@pytest.fixture(scope="module")
def grpc_server() -> Iterator[OipServer]:
    repository, engine = zoo_path() / "repository", EngineSettings(threads=1)
    model = ModelSettings(reference="scenes-blip", repository=repository, engine=engine)
    with OipServer(CoreSettings(models=(model,))) as server:
        yield server


def test_no_example_is_forgotten() -> None:
    languages = [language for language, _ in BLOCKS]
    assert languages.count("console") == NOT_RUN
    assert len(BLOCKS) == len(PROGRAMS) + languages.count("sh") + NOT_RUN
    assert len(PROGRAMS) == 3


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_the_programs_print_what_is_expected(number: int, server: ServerProcess, grpc_server: OipServer) -> None:
    program = PROGRAMS[number].replace(HTTP, f"127.0.0.1:{server.port}").replace(GRPC, grpc_server.address)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ("[b'purple']", "(2, 160)", "boat")[number] in done.stdout, done.stderr


def test_the_curl_lines_get_answers(server: ServerProcess) -> None:
    lines = [line for language, body in BLOCKS if language == "sh" for line in body.splitlines()]
    metadata, index, caption = [curl(line, server.port) for line in lines]
    assert metadata.json()["platform"] == "onnxruntime_onnx"
    assert "scenes-blip.caption" in {one["name"] for one in index.json()}
    document = json.loads(caption.content[: int(caption.headers["Inference-Header-Content-Length"])])
    assert document["model_name"] == "scenes-blip.caption"


def curl(line: str, port: int) -> httpx.Response:
    """What curl would send."""
    words = shlex.split(line)
    assert words[0] == "curl"
    options: dict[str, str] = dict(zip(words[1:-1:2], words[2:-1:2], strict=True))
    sent: dict[str, Any] = {}
    if "--data-binary" in options:
        sent["content"] = (ROOT / options["--data-binary"].removeprefix("@")).read_bytes()
    if "-H" in options:
        name, _, value = options["-H"].partition(": ")
        sent["headers"] = {name: value}
    url = httpx.URL(words[-1]).copy_with(port=port)
    response = httpx.request(options.get("-X", "GET"), url, timeout=60, trust_env=False, **sent)
    assert response.status_code == 200, response.text
    return response
