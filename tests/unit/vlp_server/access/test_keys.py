from __future__ import annotations

import hashlib
import re

import pytest
from vlp_server.access.keys import AccessKey, KeyEntry, Role, key_digest, new_key, parse_keys
from vlp_spec.errors import ConfigError

A, B = "a" * 64, "0123456789abcdef" * 4


def entries(*texts: str) -> list[KeyEntry]:
    return [KeyEntry(f"line {number}", text) for number, text in enumerate(texts, 1)]


def faults(*texts: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_keys(entries(*texts))
    return caught.value.faults


def test_keys_are_read() -> None:
    laptop, robot = parse_keys(entries(f"laptop:read:{A}", f" ci-robot_2.x : admin : {B.upper()} "))
    assert (laptop.name, laptop.role, laptop.digest) == ("laptop", Role.READ, bytes.fromhex(A))
    assert (robot.name, robot.role, robot.digest) == ("ci-robot_2.x", Role.ADMIN, bytes.fromhex(B))
    assert robot.line == f"ci-robot_2.x:admin:{B}"


def test_a_hash_is_not_in_what_python_shows() -> None:
    (key,) = parse_keys(entries(f"laptop:read:{A}"))
    assert "laptop" in repr(key)
    assert str(key.digest) not in repr(key)
    assert A not in repr(entries(f"laptop:read:{A}"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("laptop", "expected NAME:ROLE:SHA256"),
        (f"laptop:read:{A}:x", "expected NAME:ROLE:SHA256"),
        (f":read:{A}", "the name: expected 1 to 40"),
        (f"{'x' * 41}:read:{A}", "the name: expected 1 to 40"),
        (f"a b:read:{A}", "the name: expected 1 to 40"),
        (f"laptop:Read:{A}", "unknown role; expected read, write, admin"),
        (f"laptop::{A}", "unknown role"),
        (f"laptop:read:{A[1:]}", "expected the sha256 of a key, 64 hex digits"),
        (f"laptop:read:{'g' * 64}", "expected the sha256 of a key"),
        ("laptop:read:", "expected the sha256 of a key"),
    ],
)
def test_what_is_no_key(text: str, words: str) -> None:
    (fault,) = faults(f"sound:read:{B}", text)
    assert fault.startswith("line 2: ")
    assert words in fault


def test_all_faults_are_told_at_once() -> None:
    found = faults("x", f"a b:no:{A}", f"one:read:{A}", f"one:write:{B}", f"two:read:{A}")
    assert [fault.partition(":")[0] for fault in found] == ["line 1", "line 2", "line 2", "line 4", "line 5"]
    assert found[3] == "line 4: the name 'one' is given already (line 3)"
    assert found[4] == "line 5: the same key as another one's (line 3)"


def test_no_part_of_a_faulty_entry_is_shown() -> None:
    key, record = new_key("laptop", Role.READ)
    digest = record.digest.hex()
    told = "\n".join(
        faults(key, f"laptop:read:{key}", f"{key}:read:x", f"{digest}:read:laptop", f"read:{digest}:laptop")
    )
    assert key not in told
    assert digest not in told


def test_a_new_key_is_random_and_known_by_its_hash() -> None:
    key, record = new_key("laptop", Role.WRITE)
    other, _ = new_key("laptop", Role.WRITE)
    assert key != other
    # 256 bits in base64 are 43 characters.
    assert re.fullmatch(r"vlp_[A-Za-z0-9_-]{43}", key)
    assert record == AccessKey("laptop", Role.WRITE, hashlib.sha256(key.encode()).digest())
    assert parse_keys(entries(record.line)) == (record,)
    assert key_digest(key.encode()) == record.digest


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a#b", "a\n", "ü", "x" * 41])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(ConfigError, match="expected 1 to 40"):
        new_key(name, Role.READ)


def test_each_role_covers_those_before_it() -> None:
    covered = {role: [needed for needed in Role if role.covers(needed)] for role in Role}
    assert covered == {
        Role.READ: [Role.READ],
        Role.WRITE: [Role.READ, Role.WRITE],
        Role.ADMIN: [Role.READ, Role.WRITE, Role.ADMIN],
    }
