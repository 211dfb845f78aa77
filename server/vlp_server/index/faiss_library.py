"""faiss, imported when the first index is needed. faiss-cpu and faiss-gpu are one module of the same name."""

from __future__ import annotations

import importlib
import logging
import threading
from typing import Any

from vlp_spec.errors import ConfigError

_threads = threading.local()


def load_faiss() -> Any:
    """The module.

    Raises:
        ConfigError: neither form of it is installed.
    """
    # Which builds of itself it looked for and did not find is no business of an operator's.
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise ConfigError(
            [f"store: faiss cannot be imported ({error}); install vlpserve[cpu] or vlpserve[gpu]"]
        ) from error


def use_threads(count: int) -> None:
    """Let faiss compute with so many threads when this thread calls it; other threads keep their own number.

    A search for one vector is done by one: many searches at a time then share the cores without waking each other.
    """
    if getattr(_threads, "count", None) != count:
        load_faiss().omp_set_num_threads(count)
        _threads.count = count


def has_gpu() -> bool:
    """Whether this faiss knows GPUs, and sees one."""
    faiss = load_faiss()
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0
