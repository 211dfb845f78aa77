import asyncio

import pytest
from vlp_server.core.admission import Admission
from vlp_server.core.settings import AdmissionSettings
from vlp_spec.errors import OverloadedError, UnavailableError


def test_bounds_requests_and_bytes():
    admission = Admission(AdmissionSettings(max_requests=2, max_request_bytes=100))
    with admission.enter(60, 3.0):
        with pytest.raises(OverloadedError) as caught, admission.enter(50, 3.0):
            pass
        assert caught.value.retry_after_s == 3.0
        with admission.enter(40, 3.0), pytest.raises(OverloadedError), admission.enter(0, 3.0):
            pass
    assert admission.requests == 0


def test_one_request_alone_may_be_larger_than_the_bound():
    admission = Admission(AdmissionSettings(max_request_bytes=10))
    with admission.enter(50, 1.0):
        assert admission.requests == 1


async def test_draining_lets_nobody_in_and_waits_for_those_inside():
    admission = Admission(AdmissionSettings())
    with admission.enter(1, 1.0):
        draining = asyncio.create_task(admission.drain(5.0))
        await asyncio.sleep(0)
        with pytest.raises(UnavailableError), admission.enter(1, 1.0):
            pass
        assert not draining.done()
    assert await draining


async def test_draining_gives_up_after_its_time():
    admission = Admission(AdmissionSettings())
    with admission.enter(1, 1.0):
        assert not await admission.drain(0.0)
