"""The commands that ask a server about pictures, against the door."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pictures_made as pictures
import pytest
import region_files as files
from asgi_bridge import AsgiBridge, LoopThread
from click.testing import CliRunner, Result
from dummy_door import dummy_service
from vlp_cli import server_url
from vlp_cli.main import cli
from vlp_client import Client
from vlp_server.config import ServerConfig
from vlp_server.http.app import create_app

NAMES = (
    "dummy",
    "dummy-entailment",
    "dummy-reasoning",
    "dummy-grounding",
    "dummy-extractor",
    "dummy-reader",
    "dummy-reader-entailment",
    "dummy-reader-reasoning",
    "dummy-reader-grounding",
)
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def bridge() -> Iterator[AsgiBridge]:
    loop = LoopThread()
    service = dummy_service(*NAMES)
    loop.run(service.start())
    assert loop.run(service.wait_ready(30)).ready
    yield AsgiBridge(create_app(service, ServerConfig()), loop)
    loop.run(service.close())
    loop.close()


@pytest.fixture
def client(bridge: AsgiBridge) -> Client:
    return Client("http://server", transport=bridge)


@pytest.fixture
def run(bridge: AsgiBridge, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(server_url, "Client", functools.partial(Client, transport=bridge))
    return lambda *arguments, **options: CliRunner().invoke(cli, [str(one) for one in arguments], **options)


@pytest.fixture
def left(tmp_path: Path) -> Path:
    path = tmp_path / "left.jpg"
    path.write_bytes(pictures.jpeg())
    return path


@pytest.fixture
def right(tmp_path: Path) -> Path:
    path = tmp_path / "right.png"
    path.write_bytes(pictures.encode(pictures.gradient().rotate(180), "PNG"))
    return path


def results_of(done: Result) -> list[dict[str, Any]]:
    assert done.exit_code == 0, done.output
    results: list[dict[str, Any]] = json.loads(done.stdout)["results"]
    return results


def test_entail_tells_what_the_door_says_of_each_hypothesis(run: Run, client: Client, left: Path) -> None:
    expected = client.entailment(left, "a dog")
    (one,) = results_of(run("entail", left, "a dog", "--json"))
    assert one == {"hypothesis": "a dog", "label": expected.label, "scores": dict(expected.scores)}
    table = run("entail", left, "a dog")
    lines = table.stdout.splitlines()
    assert lines[0].split() == ["label", "score"]
    assert lines[1].split()[:2] == [expected.label, f"{expected.scores[expected.label]:.3f}"]
    assert lines[-1] == "(dummy-entailment@1)"
    several = run("entail", left, "a dog", "a cat").stdout.splitlines()
    assert [line for line in several if line in ("a dog", "a cat")] == ["a dog", "a cat"]
    by_stdin = run("entail", "-", "a dog", "--json", input=left.read_bytes())
    assert results_of(by_stdin) == [one]


def test_reason_tells_what_the_door_says_of_two_pictures(run: Run, client: Client, left: Path, right: Path) -> None:
    expected = client.reasoning((left, right), "two dogs")
    found = results_of(run("reason", left, right, "two dogs", "a cat", "--json"))
    assert found[0] == {"statement": "two dogs", "label": expected.label, "score": expected.score}
    assert [one["statement"] for one in found] == ["two dogs", "a cat"]
    swapped = results_of(run("reason", right, left, "two dogs", "--json"))
    assert swapped[0]["score"] != expected.score
    for arguments in (("-", right), (left, "-")):
        picture = left if arguments[0] == "-" else right
        done = run("reason", *arguments, "two dogs", "--json", input=picture.read_bytes())
        assert results_of(done)[0]["score"] == expected.score
    head, row, model = run("reason", left, right, "two dogs").stdout.splitlines()
    assert head.split() == ["statement", "label", "true"]
    assert row.split()[2:4] == [str(expected.label).lower(), f"{expected.score:.3f}"]
    assert model == "(dummy-reasoning@1)"


def test_ground_tells_where_the_door_finds_a_phrase(run: Run, client: Client, left: Path) -> None:
    expected = client.grounding(left, "the dog", top_k=2)
    (one,) = results_of(run("ground", left, "the dog", "--top-k", "2", "--json"))
    assert one["phrase"] == "the dog"
    assert [(tuple(found["box"]), found["score"]) for found in one["boxes"]] == [
        (found.box, found.score) for found in expected.boxes
    ]
    lines = run("ground", left, "the dog", "--top-k", 2).stdout.splitlines()
    assert lines[0].split() == ["x0", "y0", "x1", "y1", "score"]
    assert lines[1].split()[:4] == [f"{edge:.3f}" for edge in expected.boxes[0].box]
    assert len(lines) == 4


def test_regions_are_listed_and_kept(run: Run, client: Client, left: Path, tmp_path: Path) -> None:
    kept = tmp_path / "left.npz"
    expected = client.regions(left, features=True)
    listed = json.loads(run("regions", left, "--json").stdout)
    assert [one["name"] for one in listed["regions"]] == [one.name for one in expected.regions]
    assert (listed["model"], listed["encoder"]) == ("dummy-extractor@1", expected.encoder)
    assert "features" not in listed
    done = run("regions", left, "--npz", kept)
    assert done.stdout.splitlines()[0].split() == ["name", "attribute", "score", "x0", "y0", "x1", "y1"]
    assert done.stdout.splitlines()[-1] == f"(dummy-extractor@1, {len(expected.regions)} regions kept in {kept})"
    with np.load(kept, allow_pickle=False) as arrays:
        assert set(arrays) == {"boxes", "features", "scores"}
        assert arrays["features"].tobytes() == expected.features
        np.testing.assert_array_equal(arrays["boxes"], np.array([one.box for one in expected.regions], np.float32))
        np.testing.assert_array_equal(arrays["scores"], np.array([one.score for one in expected.regions], np.float32))


def test_what_was_kept_stands_for_the_picture(run: Run, left: Path, right: Path, tmp_path: Path) -> None:
    kept = {}
    for side in (left, right):
        kept[side] = tmp_path / f"{side.stem}.npz"
        assert run("regions", side, "--npz", kept[side]).exit_code == 0
    calls: list[tuple[str, list[Path], str, str]] = [
        ("ask", [left], "what?", "dummy-reader"),
        ("entail", [left], "a dog", "dummy-reader-entailment"),
        ("ground", [left], "the dog", "dummy-reader-grounding"),
        ("reason", [left, right], "two dogs", "dummy-reader-reasoning"),
    ]
    for command, sides, text, model in calls:
        by_picture = run(command, *sides, text, "--model", model, "--json")
        by_regions = run(command, *(kept[side] for side in sides), text, "--model", model, "--json")
        assert results_of(by_picture) == results_of(by_regions), command


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["entail", "{left}", " "], 1, "hypotheses[0]: empty"),
        (["entail", "{left}", "a", "--model", "dummy"], 1, "does not do entailment"),
        (["entail", "{left}", "a", "--model", "nobody"], 1, "not served here"),
        (["entail", "{folder}/none.jpg", "a"], 2, "none.jpg: No such file or directory"),
        (["entail", "{folder}/none.npz", "a"], 2, "none.npz: No such file or directory"),
        (["entail", "{regions}", "a"], 1, "reads pictures, not regions"),
        (["entail", "{left}"], 2, "Missing argument"),
        (["reason", "{left}", "{regions}", "a"], 2, "give two of one kind"),
        (["reason", "{folder}/none.jpg", "{left}", "a"], 2, "none.jpg: No such file or directory"),
        (["reason", "-", "-", "a"], 2, "standard input holds one picture"),
        (["reason", "{left}", "a"], 2, "Missing argument"),
        (["ground", "{left}", "a", "--top-k", "0"], 1, "top_k: got 0"),
        (["regions", "{regions}"], 2, "these are regions already"),
        (["regions", "{left}", "--npz", "{folder}/left.zip"], 2, "expected a name ending with .npz"),
        (["regions", "{left}", "--npz", "{folder}/no/such/folder.npz"], 2, "folder.npz: No such file or directory"),
        (["regions", "{left}", "--model", "dummy"], 1, "does not do regions"),
    ],
)
def test_faults_are_told_in_words(
    arguments: list[str], code: int, words: str, run: Run, left: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.npz"
    kept.write_bytes(files.npz())
    places = {"left": str(left), "regions": str(kept), "folder": str(tmp_path)}
    done = run(*(argument.format(**places) for argument in arguments))
    assert done.exit_code == code, done.output
    assert words in done.stderr
    assert "Traceback" not in done.output
    assert done.stdout == ""
