"""A Triton whose door answers and whose model hangs is not asked any more."""

import pytest
from tritonclient.utils import InferenceServerException
from vlp_server.engines.base import CallTerms
from vlp_server.engines.dummy_deployment import build_dummy_deployment
from vlp_server.engines.triton_server import TritonServer
from vlp_spec.errors import DeadlineError

GRAPH = build_dummy_deployment("dummy").graphs[0]


@pytest.fixture
async def server():
    made = TritonServer("127.0.0.1:1")
    made.up = True

    async def late(*_, **__):
        raise InferenceServerException("Deadline Exceeded", status="StatusCode.DEADLINE_EXCEEDED")

    made.client.infer = late
    yield made
    await made.client.close()


async def ask(server, timeout_s, times):
    for _ in range(times):
        with pytest.raises(DeadlineError):
            await server.infer(GRAPH, {}, CallTerms(timeout_s=timeout_s))


async def test_three_calls_in_a_row_that_had_time_enough_end_it(server):
    await ask(server, 10.0, 2)
    assert server.up
    await ask(server, 10.0, 1)
    assert not server.up
    assert "has not answered 3 calls in time" in server.reason
    assert server.in_flight == 0


async def test_calls_that_had_no_time_say_nothing_of_the_server(server):
    await ask(server, 0.5, 9)
    assert server.up
