"""One process serves both doors: the same answers, one drain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pictures_made as pictures
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from server_process import ServerProcess
from vlp_proto.vlp.v1 import content_pb2, vision_language_pb2, vision_language_pb2_grpc

QUESTION = "what is it?"


def grpc_address(server: ServerProcess) -> str:
    facts = json.loads(server.log_file.with_name("ready.json").read_text())
    return f"{facts['grpc_host']}:{facts['grpc_port']}"


@pytest.fixture
def channel(dummy_server: ServerProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(grpc_address(dummy_server)) as channel:
        yield channel


def test_both_doors_give_the_same_answers(dummy_server: ServerProcess, channel: grpc.Channel) -> None:
    stub = vision_language_pb2_grpc.VisionLanguageStub(channel)
    picture = content_pb2.Picture(content=pictures.jpeg())
    over_grpc = stub.Vqa(vision_language_pb2.VqaRequest(picture=picture, questions=[QUESTION]), timeout=30)
    call = {"files": {"image": pictures.jpeg()}, "data": {"question": QUESTION}}
    over_http = httpx.post(f"{dummy_server.url}/v1/vqa", timeout=30, trust_env=False, **call).json()
    assert over_grpc.model == over_http["model"]
    assert [{"answer": one.answer, "score": one.score} for one in over_grpc.results[0].answers] == over_http["answers"]


def test_figures_of_grpc_are_among_those_of_http(dummy_server: ServerProcess, channel: grpc.Channel) -> None:
    request = health_pb2.HealthCheckRequest(service="vlp.v1.VisionLanguage")
    assert health_pb2_grpc.HealthStub(channel).Check(request).status == health_pb2.HealthCheckResponse.SERVING
    stub = vision_language_pb2_grpc.VisionLanguageStub(channel)
    with pytest.raises(grpc.RpcError):
        stub.Vqa(vision_language_pb2.VqaRequest(), timeout=30)
    text = httpx.get(f"{dummy_server.url}/metrics", trust_env=False).text
    assert 'vlpserve_grpc_calls_total{kind="invalid_argument",method="/vlp.v1.VisionLanguage/Vqa"' in text


def test_a_signal_ends_both_doors_and_the_process_well(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "dummy") as server, grpc.insecure_channel(grpc_address(server)) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        server.terminate()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        assert server.exit_code() == 0, server.log


def test_grpc_can_be_left_out(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, "dummy", VLPSERVE_GRPC_ENABLED="false") as server:
        facts = json.loads(server.log_file.with_name("ready.json").read_text())
        assert set(facts) == {"http_host", "http_port", "pid"}
        assert httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 200


def test_a_port_that_is_taken_ends_the_start_with_a_clear_word(dummy_server: ServerProcess, tmp_path: Path) -> None:
    taken = grpc_address(dummy_server).rpartition(":")[2]
    with pytest.raises(AssertionError, match=r"grpc\.port"):
        ServerProcess(tmp_path, "dummy", "--grpc-port", taken).__enter__()
