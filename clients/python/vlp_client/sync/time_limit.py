"""A call that ends in time, whatever the server does. Written by hand, as its twin in `vlp_client.aio`."""

from __future__ import annotations

import contextlib
import contextvars
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

import httpx

from vlp_client.timeouts import Span

T = TypeVar("T")


def within(span: Span, work: Callable[[], T], leave: Callable[[], object]) -> T:
    """Work until the end of the time that a call has.

    Args:
        span: of the call.
        work: what is done.
        leave: ends it from outside, as far as an answer is there; else its thread ends with the headers.

    Raises:
        TimeoutError: the time is over.
    """
    if span.left_s is None:
        return work()
    # A socket knows a limit of each wait alone: what comes in drops is read by a thread, which can be left.
    future: Future[T] = Future()
    run = contextvars.copy_context().run
    threading.Thread(target=run, args=(_run, future, work), name="vlp-call", daemon=True).start()
    try:
        done, _ = wait([future], span.left_s)
    except BaseException:  # such as KeyboardInterrupt
        leave()
        raise
    if done:
        return future.result()
    leave()
    raise span.expired()


def cut(response: httpx.Response) -> None:
    """Close an answer, even while it is being read elsewhere: whoever reads it sees its connection break."""
    if not response.is_closed:
        stream = response.extensions.get("network_stream")
        opened = None if stream is None else stream.get_extra_info("socket")
        if isinstance(opened, socket.socket):
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)  # to close it would wake nobody
    response.close()


def _run(future: Future[T], work: Callable[[], T]) -> None:
    try:
        result = work()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
