"""The gateway over NVIDIA's real Triton, as processes: Triton is killed and comes back; versions come and go there."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import tritonclient.grpc as tritonclient
from server_process import ServerProcess
from service_rig import picture
from tiny_repository import publish
from triton_process import TritonProcess, write_repository
from vlp_client import Client

SECRET = "a-secret-of-these-tests"
CONTROL = {"triton-grpc-protocol-vlpserve-control": SECRET}
NO_ANSWERS_KEPT = {"VLPSERVE_CACHE_ANSWER_ENTRIES": "0"}


def wait_for(condition: object, limit_s: float = 30.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.05)


class Askers:
    """Threads that ask one after another, as long as they are let, and count how it ended."""

    def __init__(self, url: str, model: str | None = None, threads: int = 4) -> None:
        self.outcomes: Counter[str] = Counter()
        self.answers: set[tuple[str, float]] = set()
        self.without_retry_after = 0
        self._url, self._model = url, model
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]

    def __enter__(self) -> Askers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join(60)

    def _ask(self) -> None:
        fields = {"question": "what colour is it", **({"model": self._model} if self._model else {})}
        with httpx.Client(trust_env=False, timeout=60) as http:
            while not self._done.is_set():
                answer = http.post(
                    f"{self._url}/v1/vqa", files={"image": ("a.png", picture("red"), "image/png")}, data=fields
                )
                self.outcomes[str(answer.status_code)] += 1
                if answer.status_code == 200:
                    best = answer.json()["answers"][0]
                    self.answers.add((answer.json()["model"], round(best["score"], 3)))
                elif "retry-after" not in answer.headers:
                    self.without_retry_after += 1

    def more(self, outcome: str, count: int = 20) -> None:
        """Wait for so many further outcomes of a kind."""
        wanted = self.outcomes[outcome] + count
        wait_for(lambda: self.outcomes[outcome] >= wanted)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of the tiny model, which answer otherwise."""
    root = tmp_path_factory.mktemp("triton")
    publish(root / "own")
    publish(root / "own", version=2, scale=-3.0)
    return write_repository(root / "repository", [root / "own"], "--threads", "1")


@pytest.fixture
def triton(repository: Path, tmp_path: Path) -> Iterator[TritonProcess]:
    with TritonProcess(tmp_path, repository) as started:
        yield started


@pytest.fixture
def managed(tmp_path: Path) -> dict[str, str]:
    """Variables of a gateway that manages models on Triton."""
    file = tmp_path / "control-secret"
    file.write_text(SECRET + "\n")
    return {
        "VLPSERVE_ENGINE_TRITON_MANAGE": "true",
        "VLPSERVE_ENGINE_TRITON_CONTROL_SECRET_FILE": str(file),
        "VLPSERVE_HTTP_ADMIN": "true",
    }


@pytest.fixture
def managed_triton(repository: Path, managed: dict[str, str], tmp_path: Path) -> Iterator[TritonProcess]:
    file = managed["VLPSERVE_ENGINE_TRITON_CONTROL_SECRET_FILE"]
    with TritonProcess(tmp_path, repository, "--explicit", "--control-secret-file", file) as started:
        yield started


def gateway(folder: Path, repository: Path, *urls: str, model: str = "tiny@1", **environment: str) -> ServerProcess:
    place = folder / "gateway"
    place.mkdir()
    arguments = (model, "--engine", "triton", "--triton-url", ",".join(urls), "--repository", str(repository))
    return ServerProcess(place, *arguments, **NO_ANSWERS_KEPT, **environment)


def ready(url: str) -> bool:
    return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200


def test_a_triton_that_is_killed_under_load_and_comes_back(
    triton: TritonProcess, repository: Path, tmp_path: Path
) -> None:
    with gateway(tmp_path, repository, triton.url) as server, Askers(server.url) as askers:
        askers.more("200")
        triton.kill()
        askers.more("503")
        wait_for(lambda: not ready(server.url))
        triton.start()
        wait_for(lambda: ready(server.url))
        askers.more("200")
        assert server.process.poll() is None
    assert set(askers.outcomes) == {"200", "503"}
    assert askers.without_retry_after == 0
    assert len(askers.answers) == 1


def test_of_two_tritons_the_other_one_goes_on(triton: TritonProcess, repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with TritonProcess(other, repository) as second:
        with gateway(tmp_path, repository, triton.url, second.url) as server, Askers(server.url) as askers:
            wait_for(lambda: second.metric("nv_inference_count", model="tiny-fp32") > 40)
            wait_for(lambda: triton.metric("nv_inference_count", model="tiny-fp32") > 40)
            triton.kill()
            askers.more("200", 50)
            assert ready(server.url)
            before = second.metric("nv_inference_count", model="tiny-fp32")
            triton.start()
            wait_for(lambda: triton.metric("nv_inference_count", model="tiny-fp32") > 40)
            assert second.metric("nv_inference_count", model="tiny-fp32") > before
        assert set(askers.outcomes) == {"200"}


def test_a_gateway_that_comes_first_waits_for_triton(repository: Path, tmp_path: Path) -> None:
    triton = TritonProcess(tmp_path, repository)
    started = threading.Thread(target=triton.start)
    try:
        starting = gateway(tmp_path, repository, triton.url)
        threading.Timer(2.0, started.start).start()
        with starting as server, Client(server.url) as client:
            assert "waiting for Triton" in server.log
            assert client.vqa(picture("red"), "what colour is it").answers
    finally:
        started.join(60)
        triton.stop()


def test_versions_are_loaded_switched_and_unloaded_on_triton_under_load(
    managed_triton: TritonProcess, managed: dict[str, str], repository: Path, tmp_path: Path
) -> None:
    client_there = tritonclient.InferenceServerClient(managed_triton.url)

    def on_triton(name: str = "tiny-fp32") -> list[int]:
        index = client_there.get_model_repository_index(headers=CONTROL).models
        return sorted(int(one.version) for one in index if one.name == name and one.state == "READY")

    with gateway(tmp_path, repository, managed_triton.url, **managed) as server, Client(server.url) as client:
        assert on_triton() == [1, 2]
        with Askers(server.url, "tiny") as askers:
            askers.more("200")
            client.admin.load("tiny", 2)
            askers.more("200")
            assert {model for model, _ in askers.answers} == {"tiny@1"}
            client.admin.switch("tiny", 2)
            askers.more("200")
            client.admin.unload("tiny", 1)
            assert on_triton() == on_triton("tiny.vqa") == [2]
            askers.more("200")
            client.admin.load("tiny", 1)
            assert on_triton() == on_triton("tiny.vqa") == [1, 2]
            client.admin.switch("tiny", 1)
            client.admin.rollback("tiny")
            askers.more("200")
            askers.answers.clear()
            askers.more("200")
            assert {model for model, _ in askers.answers} == {"tiny@2"}
        assert set(askers.outcomes) == {"200"}


def test_a_version_that_triton_has_not_got_is_told_at_once(
    managed_triton: TritonProcess, managed: dict[str, str], tmp_path: Path
) -> None:
    own = tmp_path / "own"
    publish(own)
    publish(own, version=3)
    with gateway(tmp_path, own, managed_triton.url, **managed) as server, Client(server.url) as client:
        with pytest.raises(Exception, match="tiny-fp32"):
            client.admin.load("tiny", 3)
        assert client.vqa(picture("red"), "what colour is it").model == "tiny@1"
        assert ready(server.url)
