from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from vlp_server.access.key_ring import LOOK_S, KeyRing
from vlp_server.access.keys import Role, new_key
from vlp_server.access.keys_file import add_key, remove_key
from vlp_spec.errors import ConfigError


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Rig:
    """A ring over a file with the keys "old" (read) and "kept" (write)."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "keys.txt"
        self.clock = Clock()
        self.keys: dict[str, bytes] = {}
        self.add("old", Role.READ)
        self.add("kept", Role.WRITE)
        self.ring = KeyRing((), self.file, now=self.clock)

    def add(self, name: str, role: Role) -> None:
        key, record = new_key(name, role)
        self.keys[name] = key.encode()
        add_key(self.file, record)

    def known(self) -> set[str]:
        """Names of the keys that the ring finds by what their owners would send."""
        found = {name: self.ring.find(key) for name, key in self.keys.items()}
        assert all(key is None or key.name == name for name, key in found.items())
        return {name for name, key in found.items() if key is not None}


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_key_is_found_with_its_role_and_others_are_not(rig: Rig) -> None:
    found = rig.ring.find(rig.keys["kept"])
    assert found is not None
    assert (found.name, found.role) == ("kept", Role.WRITE)
    for sent in (b"", b"old", rig.keys["old"][:-1], rig.keys["old"] + b"x", found.digest, found.digest.hex().encode()):
        assert rig.ring.find(sent) is None


def test_keys_of_settings_and_file_together(rig: Rig) -> None:
    key, record = new_key("set", Role.ADMIN)
    both = KeyRing((record.line,), rig.file, now=rig.clock)
    alone = KeyRing((record.line,), None)
    assert both.find(key.encode()) == alone.find(key.encode()) == record
    assert both.find(rig.keys["old"]) is not None
    assert alone.find(rig.keys["old"]) is None


def test_faults_of_both_are_told_with_where_they_are(rig: Rig) -> None:
    rig.file.write_text(f"{rig.file.read_text()}nonsense\n")
    _, twin = new_key("old", Role.READ)
    with pytest.raises(ConfigError) as caught:
        KeyRing((twin.line, "x"), rig.file)
    assert caught.value.faults == (
        "access.keys: entry 2: expected NAME:ROLE:SHA256, as `vlpserve keys new` writes it",
        f"{rig.file}, line 1: the name 'old' is given already (access.keys: entry 1)",
        f"{rig.file}, line 3: expected NAME:ROLE:SHA256, as `vlpserve keys new` writes it",
    )


def test_a_revoked_key_is_refused_a_second_later_and_a_new_one_known(rig: Rig) -> None:
    remove_key(rig.file, "old")
    rig.add("new", Role.READ)
    rig.clock.now_s += LOOK_S - 0.01
    assert rig.known() == {"old", "kept"}
    rig.clock.now_s += 0.02
    assert rig.known() == {"kept", "new"}


def test_a_file_of_the_same_size_and_time_is_another_one(rig: Rig) -> None:
    before = rig.file.stat()
    rig.file.write_text(rig.file.read_text().replace("old:read:", "own:read:"))
    os.utime(rig.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    rig.clock.now_s += 2 * LOOK_S
    found = rig.ring.find(rig.keys["old"])
    assert found is not None
    assert found.name == "own"


@pytest.mark.parametrize("fault", ["text", "rights", "gone"])
def test_a_file_that_became_broken_changes_nothing_and_is_told_once(
    fault: str, rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    whole = rig.file.read_text()
    if fault == "text":
        rig.file.write_text(whole.replace("old:read:", "old:reed:"))
    elif fault == "rights":
        rig.file.chmod(0o666)
    else:
        rig.file.unlink()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            rig.clock.now_s += 2 * LOOK_S
            assert rig.known() == {"old", "kept"}
    (line,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert str(rig.file) in line.getMessage()
    assert not any(part in caplog.text for part in whole.replace("\n", ":").split(":") if len(part) == 64)
    rig.file.unlink(missing_ok=True)
    rig.add("new", Role.READ)
    rig.clock.now_s += 2 * LOOK_S
    assert rig.known() == {"new"}


def test_a_file_without_keys_lets_nobody_in_and_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "keys.txt"
    file.touch(0o600)
    with caplog.at_level(logging.WARNING):
        ring = KeyRing((), file)
    assert "holds no key" in caplog.text
    assert ring.find(b"") is None


def test_a_file_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        KeyRing((), tmp_path / "nothing")
