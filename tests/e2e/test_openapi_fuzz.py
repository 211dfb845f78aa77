"""Every operation of the OpenAPI description, asked well and badly: no fault of the server, nothing undescribed.

How much is asked of each is an option: `pytest tests/e2e/test_openapi_fuzz.py --fuzz-cases 2000`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from openapi_fuzz import FuzzedServer
from schemathesis import GenerationMode
from server_process import ServerProcess
from vlp_cli.generate import openapi_text
from vlp_server.access.keys import Role, new_key

MODELS = (
    "dummy",
    "dummy-captioner",
    "dummy-encoder",
    "dummy-entailment",
    "dummy-extractor",
    "dummy-grounding",
    "dummy-matcher",
    "dummy-reader",
    "dummy-reasoning",
)
OPERATIONS = [
    (method, path) for path, operations in json.loads(openapi_text())["paths"].items() for method in operations
]
# They have no field, no body and no key: nothing can be wrong with a request to them.
WITHOUT_NEGATIVE = {("get", path) for path in ("/livez", "/metrics", "/readyz", "/v2/health/live", "/v2/health/ready")}


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FuzzedServer]:
    key, record = new_key("fuzzer", Role.ADMIN)
    with ServerProcess(tmp_path_factory.mktemp("fuzzed"), *MODELS, VLPSERVE_ACCESS_KEYS=record.line) as server:
        yield FuzzedServer(server, key)
        assert server.process.poll() is None, server.log
        assert "a fault that nothing handles" not in server.log


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_answer_is_as_described(
    method: str, path: str, mode: GenerationMode, fuzzed: FuzzedServer, request: pytest.FixtureRequest
) -> None:
    fuzzed.furnish()
    cases: int = request.config.getoption("--fuzz-cases")
    sent = fuzzed.fuzz(method, path, mode, cases)
    assert (sent == 0) is (mode is GenerationMode.NEGATIVE and (method, path) in WITHOUT_NEGATIVE)
