"""Who may load models on NVIDIA's real tritonserver, and so run code there: who knows the secret, or nobody."""

import base64
import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import tritonclient.grpc as tritonclient
from tiny_repository import publish
from triton_process import TritonProcess, write_repository
from tritonclient.utils import InferenceServerException

HEADER = "vlpserve-control"
CONFIG = json.dumps({"name": "guest", "backend": "python", "input": [], "output": []})
PROTOCOLS = ("systemsharedmemory/status", "trace/setting", "logging")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    publish(root / "own")
    return write_repository(root / "repository", [root / "own"], "--threads", "1", "--instances", "1")


def code_that_writes(file: Path) -> bytes:
    return f"open({str(file)!r}, 'w').close()\n".encode()


def over_http(triton: TritonProcess, path: str, body: object = None, **headers: str) -> int:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{triton.http_port}/v2/{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def try_to_run_code(triton: TritonProcess, proof: Path, **headers: str) -> int:
    """Load a model whose code comes along."""
    code = base64.b64encode(code_that_writes(proof)).decode()
    parameters = {"config": CONFIG, "file:1/model.py": code}
    return over_http(triton, "repository/models/guest/load", {"parameters": parameters}, **headers)


def load_over_grpc(triton: TritonProcess, proof: Path, secret: str | None = None) -> None:
    headers = None if secret is None else {f"triton-grpc-protocol-{HEADER}": secret}
    client = tritonclient.InferenceServerClient(triton.url)
    client.load_model("guest", config=CONFIG, files={"file:1/model.py": code_that_writes(proof)}, headers=headers)


def test_without_the_secret_nobody_loads_a_model(tiny: Path, tmp_path: Path) -> None:
    file, proof = tmp_path / "secret", tmp_path / "code-ran"
    file.write_text("a-secret-of-these-tests")
    with TritonProcess(tmp_path, tiny, "--explicit", f"--control-secret-file={file}") as triton:
        for headers in ({}, {HEADER: "another-secret-of-theirs"}):
            assert try_to_run_code(triton, proof, **headers) == 403
            assert over_http(triton, "repository/index", {}, **headers) == 403
            for path in PROTOCOLS:
                assert over_http(triton, path, **headers) == 403
        for secret in (None, "another-secret-of-theirs"):
            with pytest.raises(InferenceServerException, match="protocol is restricted"):
                load_over_grpc(triton, proof, secret)
        assert not proof.exists()
        assert over_http(triton, "health/ready") == 200
        right = {HEADER: "a-secret-of-these-tests"}
        assert over_http(triton, "repository/models/tiny-fp32/unload", {}, **right) == 200
        assert over_http(triton, "repository/models/tiny-fp32/load", {}, **right) == 200
        try_to_run_code(triton, proof, **right)
        assert proof.exists()  # which is why there is a secret
        assert over_http(triton, "models/tiny-fp32/ready") == 200


def test_fixed_models_are_loaded_by_nobody(tiny: Path, tmp_path: Path) -> None:
    proof = tmp_path / "code-ran"
    with TritonProcess(tmp_path, tiny) as triton:
        assert try_to_run_code(triton, proof) == 503
        with pytest.raises(InferenceServerException, match="explicit model load / unload is not allowed"):
            load_over_grpc(triton, proof)
        for path in PROTOCOLS:
            assert over_http(triton, path) == 403
        assert not proof.exists()
        assert over_http(triton, "models/tiny-fp32/ready") == 200
        assert over_http(triton, "models/tiny.vqa/ready") == 200
