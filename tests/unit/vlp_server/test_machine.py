import os
from pathlib import Path

import psutil
import pytest
from vlp_server.machine import available_memory_bytes, usable_cpus

MIB = 1024 * 1024


@pytest.mark.parametrize(("quota", "most"), [("50000 100000", 1), ("100000 100000", 1), ("max 100000", 10_000)])
def test_a_container_quota_bounds_the_cpus(tmp_path: Path, quota: str, most: int) -> None:
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert usable_cpus(tmp_path) == min(most, len(os.sched_getaffinity(0)))


def test_without_a_group_the_machine_counts(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path) == len(os.sched_getaffinity(0))
    assert available_memory_bytes(tmp_path) == pytest.approx(psutil.virtual_memory().available, rel=0.2)


def test_a_container_limit_bounds_the_memory(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(f"{100 * MIB}\n")
    (tmp_path / "memory.current").write_text(f"{60 * MIB}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {10 * MIB}\nactive_file 7\n")
    assert available_memory_bytes(tmp_path) == 50 * MIB
    (tmp_path / "memory.current").write_text(f"{160 * MIB}\n")
    assert available_memory_bytes(tmp_path) == 0
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory_bytes(tmp_path) > 160 * MIB
