"""Classes of the protocol's messages, in a pool of their own.

tritonclient brings messages of the same names, and puts them into the pool that all generated code shares: there ours
could not stand beside them, and our engine for Triton needs tritonclient.
"""

from __future__ import annotations

import base64
import functools
from typing import Any

from google.protobuf import descriptor_pool, message_factory

from vlp_server.oip.grpc_descriptor import DESCRIPTOR

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"


@functools.cache
def message_pool() -> Any:
    """The pool with the protocol's descriptors, for reflection, too."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(base64.b64decode(DESCRIPTOR))
    return pool


@functools.cache
def message_class(name: str) -> Any:
    """The class of a message by its name without the package."""
    return message_factory.GetMessageClass(message_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


@functools.cache
def methods() -> dict[str, Any]:
    """Name -> descriptor of every method of the service."""
    service = message_pool().FindServiceByName(SERVICE)
    return {method.name: method for method in service.methods}
