"""Parameters of a request that mean something here, and those that would change an answer and do not."""

from __future__ import annotations

from dataclasses import dataclass

from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import Lane

from vlp_server.oip.records import InferRequest, Parameters
from vlp_server.task_models import task_terms

PRIORITY, TIMEOUT, EMPTY_FINAL = "priority", "timeout", "triton_enable_empty_final_response"
_US = 1_000_000
_LANES = {0: Lane.INTERACTIVE, 1: Lane.INTERACTIVE, 2: Lane.BULK}
# Of extensions that this server does not have. Others, a client's own, are read by nobody and do no harm.
_UNKNOWN_HERE = ("shared_memory_region", "classification", "sequence_id")


@dataclass(frozen=True, slots=True)
class RequestTerms:
    """How a request ranks.

    Attributes:
        timeout_s: after which nobody waits for the answer any more; None where none is named.
    """

    lane: Lane
    timeout_s: float | None


def read_terms(request: InferRequest) -> RequestTerms:
    """Of the parameters `priority` and `timeout`; a priority of 2 is bulk work, 1 and 0 are not.

    Raises:
        InvalidArgumentError: they are no such numbers, or a parameter asks for what is not served.
    """
    _refuse_unknown(request.parameters)
    for tensor in request.inputs:
        _refuse_unknown(tensor.parameters)
    for output in request.outputs:
        _refuse_unknown(output.parameters)
    priority, timeout_us = _whole(request.parameters, PRIORITY), _whole(request.parameters, TIMEOUT)
    if priority not in _LANES:
        raise InvalidArgumentError(f"{PRIORITY}: got {priority}, there are 1 (the highest) and 2", field=PRIORITY)
    return RequestTerms(_LANES[priority], timeout_us / _US if timeout_us else None)


def read_task_terms(request: InferRequest) -> RequestTerms:
    """Of a request to a task: those of `read_terms`, and `timeout_ms` and `lane`, which go before them.

    Raises:
        InvalidArgumentError: as `read_terms`, and for those two.
    """
    terms = read_terms(request)
    timeout_s, lane = task_terms.read_terms(request.parameters)
    limits_s = [limit for limit in (timeout_s, terms.timeout_s) if limit is not None]
    return RequestTerms(lane or terms.lane, min(limits_s, default=None))


def _whole(parameters: Parameters, name: str) -> int:
    value = parameters.get(name, 0)
    if type(value) is not int or not 0 <= value < 2**63:
        raise InvalidArgumentError(f"{name}: got {value!r:.40}, expected a whole number, 0 or more", field=name)
    return value


def _refuse_unknown(parameters: Parameters) -> None:
    for name in _UNKNOWN_HERE:
        if parameters.get(name):
            raise InvalidArgumentError(f"parameter {name!r}: this server does not have that extension", field=name)
