"""500 questions of the scenes' test split: what is served is what offline evaluation says, however requests batch,
by the embedded engine and by Triton.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server_process import ServerProcess
from triton_process import TritonProcess, write_repository
from vlp_client import Client
from vlp_models.evaluation.artefacts import open_deployment
from vlp_models.evaluation.evaluate import EvaluationData, evaluate_model
from vlp_models.scenes.dataset import ScenesConfig, write_scenes
from vlp_zoo import zoo_path

MODEL = "scenes-vilt-vqa"
QUESTIONS = 500


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root, ScenesConfig({"test": 60}))
    return root


@pytest.fixture(scope="module")
def offline(scenes: Path) -> dict[str, tuple[str, str, float]]:
    """Question's id -> question, answer, score, by the graph that is served."""
    data = EvaluationData(scenes, "test", limit=QUESTIONS)
    _, predictions = evaluate_model(open_deployment(zoo_path() / "repository", MODEL), data, batch_size=32)
    return {made.id: (made.question.text, made.answer, made.score) for made in predictions}


@pytest.fixture(scope="module", params=["embedded", "triton"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("server")
    if request.param == "embedded":
        with ServerProcess(folder, MODEL) as started:
            yield started
        return
    repository = write_repository(folder / "repository", [], "--model", MODEL)
    with TritonProcess(folder, repository) as triton:
        gateway = ("--engine", "triton", "--triton-url", triton.url, "--repository", str(repository))
        with ServerProcess(folder, MODEL, *gateway) as started:
            yield started


@pytest.mark.parametrize("clients", [1, 8])
def test_the_answers_are_those_of_offline_evaluation(
    scenes: Path, offline: dict[str, tuple[str, str, float]], server: ServerProcess, clients: int
) -> None:
    assert len(offline) == QUESTIONS

    def ask(entry: tuple[str, tuple[str, str, float]]) -> tuple[str, float]:
        identifier, (question, _, _) = entry
        picture = scenes / "images" / "test" / f"{identifier.split('/')[0]}.jpg"
        best = client.vqa(picture, question, top_k=1).answers[0]
        return best.answer, best.score

    with Client(server.url) as client, ThreadPoolExecutor(clients) as pool:
        served = list(pool.map(ask, offline.items()))
    for (answer, score), (question, expected, expected_score) in zip(served, offline.values(), strict=True):
        assert answer == expected, question
        assert score == pytest.approx(expected_score, abs=1e-4)
