from __future__ import annotations

import pytest
from vlp_server.oip.parameters import read_terms
from vlp_server.oip.records import InferRequest, InputTensor, Parameters, RequestedOutput
from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import Lane


@pytest.mark.parametrize(
    ("parameters", "lane", "timeout_s"),
    [
        ({}, Lane.INTERACTIVE, None),
        ({"priority": 0, "timeout": 0}, Lane.INTERACTIVE, None),
        ({"priority": 1, "timeout": 1_500_000}, Lane.INTERACTIVE, 1.5),
        ({"priority": 2, "my_own": "x"}, Lane.BULK, None),
    ],
)
def test_priority_and_timeout_are_read(parameters: Parameters, lane: Lane, timeout_s: float | None) -> None:
    terms = read_terms(InferRequest("m", parameters=parameters))
    assert (terms.lane, terms.timeout_s) == (lane, timeout_s)


@pytest.mark.parametrize(
    "parameters",
    [{"priority": 3}, {"priority": -1}, {"priority": "1"}, {"timeout": -5}, {"timeout": 1.5}, {"timeout": True}],
)
def test_others_are_refused(parameters: Parameters) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(parameters))):
        read_terms(InferRequest("m", parameters=parameters))


@pytest.mark.parametrize(
    "request_",
    [
        InferRequest("m", inputs=[InputTensor("x", "FP32", (1,), parameters={"shared_memory_region": "r"})]),
        InferRequest("m", outputs=[RequestedOutput("y", {"classification": 3})]),
        InferRequest("m", parameters={"sequence_id": 7}),
    ],
)
def test_extensions_that_are_not_there_are_refused(request_: InferRequest) -> None:
    with pytest.raises(InvalidArgumentError, match="does not have that extension"):
        read_terms(request_)
