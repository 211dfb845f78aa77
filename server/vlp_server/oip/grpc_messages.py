"""Classes of the protocol's messages, in a pool of their own.

tritonclient brings messages of the same names, and puts them into the pool that all generated code shares: there ours
could not stand beside them, and our engine for Triton needs tritonclient.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from vlp_spec.errors import InvalidArgumentError

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


def parser(name: str) -> Callable[[bytes], Any]:
    """What reads a message; None where the bytes are none: an error here would be UNKNOWN to its caller."""
    kind = message_class(name)

    def parse(data: bytes) -> Any:
        try:
            return kind.FromString(data)
        except DecodeError:
            return None

    return parse


def whole(message: Any) -> Any:
    """A message that was read.

    Raises:
        InvalidArgumentError: there is none, see `parser`.
    """
    if message is None:
        raise InvalidArgumentError("the bytes of the request are no message of this method")
    return message
