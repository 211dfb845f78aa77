"""Whether a model's graphs fit in memory, judged before each is loaded: a process killed for memory takes every model
along.
"""

from __future__ import annotations

from pathlib import Path

from vlp_spec.errors import ArtifactError

from vlp_server.machine import available_memory_bytes

_MIB = 1024 * 1024
# While a session is made, onnxruntime holds the file's weights and the copies that it packs for its kernels at the
# same time: up to both in full, 1.3 to 1.4 times the file measured on 90 MiB of matrix products. Runtime and kernels
# take a fixed part beside them, and so do the activations of a small batch.
WEIGHT_COPIES = 2.0
FIXED_BYTES = 64 * _MIB


def estimate_load_bytes(file_bytes: int) -> int:
    """Peak memory that loading a graph of this size on disk is expected to need."""
    return int(file_bytes * WEIGHT_COPIES) + FIXED_BYTES


def check_fits(graph_dir: Path, name: str, limit_bytes: int, held_bytes: int = 0) -> int:
    """Refuse a graph that would not fit.

    Args:
        graph_dir: the graph's version folder; all its files count, external weights included.
        name: for the message.
        limit_bytes: the model's own limit, for all its graphs together; 0 = none.
        held_bytes: what its graphs that are loaded already were expected to need; what the machine has available now
            is without them.

    Returns:
        the memory that this graph is expected to need.

    Raises:
        ArtifactError: expected need over the limit, or over what machine and container leave now.
    """
    file_bytes = sum(path.stat().st_size for path in graph_dir.rglob("*") if path.is_file())
    needed = estimate_load_bytes(file_bytes)
    if limit_bytes and held_bytes + needed > limit_bytes:
        others = f" beside {_mib(held_bytes)} MiB of the model's other graphs" if held_bytes else ""
        raise ArtifactError(
            f"graph {name!r}: expected to need {_mib(needed)} MiB (files of {_mib(file_bytes)} MiB){others}, its "
            f"memory limit is {_mib(limit_bytes)} MiB; raise the limit or serve a smaller precision such as int8"
        )
    available = available_memory_bytes()
    if needed > available:
        raise ArtifactError(
            f"graph {name!r}: expected to need {_mib(needed)} MiB (files of {_mib(file_bytes)} MiB), this machine has "
            f"{_mib(available)} MiB available; stop other programs or serve a smaller precision such as int8"
        )
    return needed


def _mib(size_bytes: int) -> int:
    return -(-size_bytes // _MIB)
