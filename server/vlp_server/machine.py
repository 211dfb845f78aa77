"""What this process may use of the machine: a container is often allowed less than the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path

import psutil

CGROUP_ROOT = Path("/sys/fs/cgroup")  # a container sees its own group here (version 2)


def usable_cpus(cgroup: Path = CGROUP_ROOT) -> int:
    """How many CPUs this process may keep busy: taskset, container sets and container quotas count."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if quota.isdecimal() and period.isdecimal() and int(period):
        cpus = min(cpus, math.ceil(int(quota) / int(period)))
    return max(1, cpus)


def available_memory_bytes(cgroup: Path = CGROUP_ROOT) -> int:
    """Memory that this process can still get, in bytes: the machine's, or what its container's limit leaves."""
    available = psutil.virtual_memory().available
    limit, used = _read(cgroup / "memory.max"), _read(cgroup / "memory.current")
    if limit.isdecimal() and used.isdecimal():
        available = min(available, int(limit) - int(used) + _reclaimable_bytes(cgroup))
    return max(0, available)


def _reclaimable_bytes(cgroup: Path) -> int:
    """File pages, which count as used in a group and are given up when memory is asked for."""
    for line in _read(cgroup / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file" and value.isdecimal():
            return int(value)
    return 0


def _read(path: Path) -> str:
    """A file's text, empty where there is none: outside Linux, or without a group of its own."""
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
