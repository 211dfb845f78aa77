from __future__ import annotations

import math

import pytest
from vlp_server.access.keys import KeyEntry, Role, new_key, parse_keys
from vlp_server.access.quota import OwnQuota, Quota, quota_faults
from vlp_spec.errors import ConfigError

A = "a" * 64
DEFAULTS = Quota(rate=100.0, burst=500.0, concurrency=1000.0)


def quota_of(text: str) -> OwnQuota:
    (key,) = parse_keys([KeyEntry("line 1", text)])
    return key.quota


@pytest.mark.parametrize(
    ("fields", "own"),
    [
        ("", OwnQuota()),
        (":rate=5", OwnQuota(rate=5.0)),
        (" : rate = 0.5 : burst = 20", OwnQuota(rate=0.5, burst=20.0)),
        (":concurrency=0:rate=0", OwnQuota(rate=0.0, concurrency=0.0)),
    ],
)
def test_a_key_s_line_may_have_its_quota(fields: str, own: OwnQuota) -> None:
    assert quota_of(f"laptop:read:{A}{fields}") == own


@pytest.mark.parametrize(
    "fields",
    [":", ":5", ":rate", ":rate=", ":rate=-1", ":rate=nan", ":rate=1e9", ":rate=1:rate=2", ":speed=1", ":x=y:"],
)
def test_what_is_no_quota_is_a_fault_of_its_line_and_not_shown(fields: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_keys([KeyEntry("line 1", f"laptop:root:{A}{fields}"), KeyEntry("line 2", "x")])
    assert [fault.partition(": ")[0] for fault in caught.value.faults] == ["line 1", "line 1", "line 2"]
    assert "rate=, burst= or concurrency= and a number" in caught.value.faults[1]
    assert A not in str(caught.value)


def test_a_line_is_written_as_it_is_read() -> None:
    own = OwnQuota(rate=12.5, concurrency=0.0)
    _, record = new_key("laptop", Role.WRITE, own)
    assert record.line.endswith(":rate=12.5:concurrency=0")
    assert parse_keys([KeyEntry("line 1", record.line)]) == (record,)


def test_a_key_s_own_goes_before_what_everybody_may() -> None:
    assert OwnQuota().over(DEFAULTS) == DEFAULTS
    assert OwnQuota(concurrency=0.0).over(DEFAULTS) == Quota(rate=100.0, burst=500.0, concurrency=0.0)
    slow = OwnQuota(rate=1.0).over(DEFAULTS)
    assert slow.bucket_size == 10.0


def test_faults_of_a_quota_are_told_together() -> None:
    faults = quota_faults(Quota(rate=-1.0, burst=math.nan, concurrency=math.inf))
    assert [fault.partition(":")[0] for fault in faults] == ["rate", "burst", "concurrency"]
    assert quota_faults(Quota(burst=5.0))[0].startswith("burst: set without a rate")
    assert quota_faults(DEFAULTS) == quota_faults(Quota()) == []
