"""match, classify, embed, and the rest that asks encoders, against the door."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pictures_made as pictures
import pytest
from asgi_bridge import AsgiBridge, LoopThread
from click.testing import CliRunner, Result
from dummy_door import dummy_service
from vlp_cli import server_url
from vlp_cli.main import cli
from vlp_client import Client
from vlp_server.config import ServerConfig
from vlp_server.http.app import create_app

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def bridge() -> Iterator[AsgiBridge]:
    loop = LoopThread()
    service = dummy_service("dummy", "dummy-matcher", "dummy-encoder")
    loop.run(service.start())
    assert loop.run(service.wait_ready(30)).ready
    yield AsgiBridge(create_app(service, ServerConfig()), loop)
    loop.run(service.close())
    loop.close()


@pytest.fixture
def run(bridge: AsgiBridge, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(server_url, "Client", functools.partial(Client, transport=bridge))
    return lambda *arguments, **options: CliRunner().invoke(cli, [str(one) for one in arguments], **options)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(pictures.jpeg())
    return path


def test_match_has_a_row_a_text(run: Run, picture: Path) -> None:
    done = run("match", picture, "a dog", "a cat", "--json")
    body = json.loads(done.stdout)
    assert [set(one) for one in body["scores"]] == [{"text", "score", "itm", "itc"}] * 2
    table = run("match", "-", "a dog", "a cat", input=picture.read_bytes()).stdout.splitlines()
    assert [line.split()[0] for line in table] == ["text", "a", "a", "(dummy-matcher@1)"]
    assert f"{body['scores'][1]['score']:.3f}" in table[2]


def test_classify_chooses_among_any_words(run: Run, picture: Path) -> None:
    done = run("classify", picture, "a dog", "a cat", "--template", "a photo of {}", "--json")
    scores = json.loads(done.stdout)["scores"]
    assert {one["label"] for one in scores} == {"a dog", "a cat"}
    assert math.isclose(sum(one["score"] for one in scores), 1, abs_tol=1e-3)
    assert run("classify", picture, "a dog", "a cat").stdout.splitlines()[-1] == "(dummy-encoder@1)"
    assert run("classify", "a.npz", "a").exit_code == 2


def test_embed_has_texts_first_and_then_pictures_in_openai_s_shape(run: Run, picture: Path) -> None:
    done = run("embed", "a dog", "--image", picture, "--json")
    body = json.loads(done.stdout)
    assert (body["object"], body["model"]) == ("list", "dummy-encoder@1")
    assert [one["index"] for one in body["data"]] == [0, 1]
    assert all(one["object"] == "embedding" and len(one["embedding"]) == 16 for one in body["data"])
    swapped = run("embed", "a cat", "--image", "-", "--json", input=picture.read_bytes())
    assert json.loads(swapped.stdout)["data"][1] == body["data"][1]
    assert json.loads(swapped.stdout)["data"][0] != body["data"][0]
    head, first, second, model = run("embed", "a dog", "--image", picture).stdout.splitlines()
    assert head.split() == ["item", "numbers", "length", "begins"]
    assert first.startswith("a dog")
    assert second.split()[1:3] == ["16", "1.000"]
    assert run("embed").exit_code == 2


@pytest.mark.parametrize("command", [("match",), ("classify",), ("embed", "--image")])
def test_files_and_models_that_are_not_there(command: tuple[str, ...], run: Run, tmp_path: Path, picture: Path) -> None:
    missing = run(*command, tmp_path / "none.jpg", "a")
    assert (missing.exit_code, "none.jpg: No such file" in missing.stderr) == (2, True)
    refused = run(*command, picture, "a", "--model", "nobody")
    assert (refused.exit_code, refused.stderr.startswith("Error: "), refused.stdout) == (1, True, "")


def test_models_lists_what_the_door_lists(run: Run, bridge: AsgiBridge) -> None:
    listed = json.loads(run("models", "--url", "http://server", "--json").stdout)["data"]
    with Client("http://server", transport=bridge) as client:
        assert [one["id"] for one in listed] == [info.id for info in client.models()]
    assert listed[0]["tasks"] == ["vqa"]
    table = run("models", env={"VLPSERVE_URL": "http://server"}).stdout.splitlines()
    assert table[1].split() == ["dummy@1", "dummy", "vqa", "fp32", "ready", "http://server"]
