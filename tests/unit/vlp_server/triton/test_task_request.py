"""What comes with a request of Triton's: tensors as they were sent, and terms as parameters."""

import numpy as np
import pytest
from triton_backend import Backend, Request
from vlp_server.task_models.task_records import TaskRequest
from vlp_server.triton import task_request
from vlp_server.triton.task_request import read_request
from vlp_spec.errors import InvalidArgumentError, TooLargeError
from vlp_spec.tasks import Lane
from vlp_spec.triton_names import LANE_PARAMETER, TIMEOUT_PARAMETER

NOW = 100.0


def read(timeout_us: int = 0, tensors: dict[str, list[bytes]] | None = None, **parameters: object) -> TaskRequest:
    inputs = {name: np.array(values, np.object_) for name, values in (tensors or {}).items()}
    return read_request(Backend(), Request(inputs, timeout_us, parameters), clock=lambda: NOW)


def test_tensors_are_read_as_they_are_and_may_be_left_out() -> None:
    got = read(tensors={"image": [b"one", b"two"], "text": ["é".encode()], "options": [b"{}"]})
    assert got == TaskRequest([b"one", b"two"], ["é"], b"{}")
    assert got.size_bytes == 6
    assert read() == TaskRequest([], [])


def test_a_request_without_terms_has_the_services_own() -> None:
    assert (read().deadline, read().lane) == (None, Lane.INTERACTIVE)
    assert read(sequence_id=7, other="x") == read()


def test_the_names_are_those_that_callers_use() -> None:
    assert (TIMEOUT_PARAMETER, LANE_PARAMETER) == ("timeout_ms", "lane")


@pytest.mark.parametrize(
    ("timeout_us", "parameters", "seconds"),
    [
        (0, {"timeout_ms": 1}, 0.001),
        (0, {"timeout_ms": 3_600_000}, 3600.0),
        (250_000, {}, 0.25),
        (250_000, {"timeout_ms": 2000}, 0.25),
        (5_000_000, {"timeout_ms": 2000}, 2.0),
    ],
)
def test_the_earlier_of_both_timeouts_counts(timeout_us: int, parameters: dict[str, object], seconds: float) -> None:
    deadline = read(timeout_us, **parameters).deadline
    assert deadline == pytest.approx(NOW + seconds)


@pytest.mark.parametrize("lane", list(Lane))
def test_a_lane_is_taken_by_its_name(lane: Lane) -> None:
    assert read(lane=str(lane)).lane is lane


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("timeout_ms", value) for value in (0, -1, 3_600_001, 10**30, 1.5, "100", True, [1], {}, "x" * 1000)),
        *(("lane", value) for value in ("", "Bulk", "urgent", 1, True, None, ["bulk"], {}, "x" * 1000)),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidArgumentError, match=name) as caught:
        read(**{name: value})
    assert caught.value.field == name
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("text", ["{", "nope", "{'a': 1}"])
def test_parameters_that_are_no_json_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(Request, "parameters", lambda _: text)
    with pytest.raises(InvalidArgumentError, match="parameters: not JSON"):
        read()


@pytest.mark.parametrize("text", ["", "{}", "[]", "null"])
def test_no_parameters_are_no_terms(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(Request, "parameters", lambda _: text)
    assert read().deadline is None


def test_a_text_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="not UTF-8"):
        read(tensors={"text": [b"\xff"]})


def test_the_bytes_of_a_request_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_request, "_MAX_BYTES", 10)
    assert read(tensors={"image": [b"12345"], "text": [b"12345"]}).texts == ["12345"]
    with pytest.raises(TooLargeError, match="11 bytes, at most 10"):
        read(tensors={"image": [b"12345"], "text": [b"12345"], "options": [b"6"]})
