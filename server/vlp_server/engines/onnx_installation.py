"""What the installed onnxruntime can do, asked before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata

import onnxruntime
from vlp_spec.errors import ConfigError

PROVIDER_NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")


def check_installation(providers: Sequence[str]) -> list[str]:
    """Check that one onnxruntime is installed and that it has these providers.

    Args:
        providers: "cpu", "cuda", "tensorrt".

    Returns:
        onnxruntime's own names of them, in the same order.

    Raises:
        ConfigError: two distributions share the module (the files of one overwrote those of the other, silently), or
            a provider is not in this build.
    """
    installed = [name for name in _DISTRIBUTIONS if _is_installed(name)]
    faults = []
    if len(installed) > 1:
        faults.append(
            f"engine onnx: {' and '.join(installed)} are both installed and overwrite each other's files; "
            "uninstall both, then install vlpserve[cpu] or vlpserve[gpu]"
        )
    available = onnxruntime.get_available_providers()
    for provider in providers:
        if PROVIDER_NAMES[provider] not in available:
            faults.append(
                f"engine onnx: provider {provider!r} is not in the installed onnxruntime, which has "
                f"{', '.join(available)}; install vlpserve[gpu], or configure providers = ['cpu']"
            )
    if faults:
        raise ConfigError(faults)
    return [PROVIDER_NAMES[provider] for provider in providers]


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
