import asyncio

import pytest
from service_rig import settle
from vlp_server.core.joint_call import JointCall
from vlp_spec.errors import InferenceError, InternalError, InvalidArgumentError, UnavailableError


class There:
    """Doubles numbers; 13 fails."""

    def __init__(self):
        self.calls, self.left, self.go = [], 0, asyncio.Event()
        self.go.set()
        self.error = InferenceError("13")

    async def send(self, numbers):
        self.calls.append(list(numbers))
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        if 13 in numbers:
            raise self.error
        return [2 * number for number in numbers]


@pytest.fixture
def there():
    return There()


async def outcomes(call, *numbers):
    return await asyncio.gather(*(call.ask(number) for number in numbers), return_exceptions=True)


async def test_what_is_asked_at_a_time_goes_together_up_to_the_limit(there):
    call = JointCall(there.send, 3)
    assert await outcomes(call, 1, 2, 3, 4, 5) == [2, 4, 6, 8, 10]
    assert there.calls == [[1, 2, 3], [4, 5]]
    assert await call.ask(6) == 12
    assert there.calls[-1] == [6]


@pytest.mark.parametrize("kind", [InferenceError, InvalidArgumentError])
async def test_only_the_guilty_one_fails(there, kind):
    there.error = kind("13")
    results = await outcomes(JointCall(there.send, 64), 1, 13, 2, 3)
    assert [type(result) for result in results] == [int, kind, int, int]
    assert there.calls == [[1, 13, 2, 3], [1, 13], [1], [13], [2, 3]]


async def test_a_fault_of_all_is_not_looked_for_in_each(there):
    results = await outcomes(JointCall(there.send, 64), *[13] * 64)
    assert [type(result) for result in results] == [InferenceError] * 64
    assert len(there.calls) < 15


async def test_what_is_nobodys_fault_is_told_to_all_and_asked_once(there):
    there.error = UnavailableError("away")
    results = await outcomes(JointCall(there.send, 64), 1, 13, 2)
    assert [type(result) for result in results] == [UnavailableError] * 3
    assert len(there.calls) == 1


async def test_too_few_results_are_a_fault(there):
    async def short(numbers):
        return [0]

    results = await outcomes(JointCall(short, 64), 1, 2)
    assert [type(result) for result in results] == [InternalError] * 2


async def test_one_who_leaves_stops_nothing_and_the_last_one_does(there):
    call = JointCall(there.send, 64)
    there.go.clear()
    first, second = asyncio.create_task(call.ask(1)), asyncio.create_task(call.ask(2))
    await settle()
    first.cancel()
    await settle()
    assert there.left == 0
    second.cancel()
    await settle()
    assert there.left == 1
    there.go.set()
    assert await call.ask(3) == 6


async def test_who_leaves_before_it_was_sent_is_not_joined(there):
    call = JointCall(there.send, 64)
    first = asyncio.create_task(call.ask(1))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    assert await call.ask(2) == 4
    assert [2] in there.calls
