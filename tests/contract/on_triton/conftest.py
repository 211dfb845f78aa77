"""One tritonserver for all tests of this folder: the shipped models, tiny BLIPs, and the unit tests' tiny one."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from tiny_blip import shared_tiny_blip
from tiny_repository import publish
from triton_process import TritonProcess, write_repository
from vlp_zoo import zoo_path

TINY_BLIPS = ("caption", "vqa", "match", "reasoning")


@pytest.fixture(scope="session")
def triton_repository(tmp_path_factory):
    root = tmp_path_factory.mktemp("triton")
    publish(root / "tiny")
    sources = [zoo_path() / "repository", shared_tiny_blip(*TINY_BLIPS) / "repository", root / "tiny"]
    return write_repository(root / "repository", sources, "--threads", "1", "--instances", "1")


@pytest.fixture(scope="session")
def control_secret_file(tmp_path_factory):
    """What opens Triton's protocols of control, so that tests may unload and load its models."""
    file = tmp_path_factory.mktemp("control") / "secret"
    file.write_text("a-secret-of-these-tests")
    return file


@pytest.fixture(scope="session")
def triton(triton_repository, control_secret_file, tmp_path_factory):
    arguments = ["--explicit", f"--control-secret-file={control_secret_file}"]
    with TritonProcess(tmp_path_factory.mktemp("tritonserver"), triton_repository, *arguments) as started:
        yield started
