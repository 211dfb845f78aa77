"""The SDK's entailment, reasoning, grounding and regions against the door."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pictures_made as pictures
import pytest
import region_files as files
from asgi_bridge import AsgiBridge, LoopThread
from dummy_door import dummy_service
from vlp_client import (
    Client,
    Entailment,
    Entailments,
    Grounding,
    Groundings,
    ProtocolError,
    Regions,
    RequestError,
    Truth,
    Truths,
)
from vlp_server.config import ServerConfig
from vlp_server.http.app import create_app

LEFT, RIGHT = pictures.jpeg(), pictures.encode(pictures.gradient().rotate(180), "PNG")
NAMES = (
    "dummy-entailment",
    "dummy-reasoning",
    "dummy-grounding",
    "dummy-extractor",
    "dummy-reader",
    "dummy-reader-matcher",
    "dummy-reader-entailment",
    "dummy-reader-reasoning",
    "dummy-reader-grounding",
)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    loop = LoopThread()
    service = dummy_service(*NAMES)
    loop.run(service.start())
    assert loop.run(service.wait_ready(30)).ready
    with Client("http://server", transport=AsgiBridge(create_app(service, ServerConfig()), loop)) as client:
        yield client
    loop.run(service.close())
    loop.close()


def test_one_hypothesis_or_several(client: Client) -> None:
    one = client.entailment(LEFT, "a dog")
    assert isinstance(one, Entailment)
    assert one.model == "dummy-entailment@1"
    assert set(one.scores) == {"entailment", "neutral", "contradiction"}
    assert one.label == max(one.scores, key=lambda label: one.scores[label])
    assert one.timings_ms["total"] > 0
    several = client.entailment(LEFT, ["a cat", "a dog"], model="dummy-entailment", deadline_s=20)
    assert isinstance(several, Entailments)
    assert [result.hypothesis for result in several.results] == ["a cat", "a dog"]
    assert (several.results[1].label, several.results[1].scores) == (one.label, one.scores)


def test_one_statement_or_several(client: Client, tmp_path: Path) -> None:
    one = client.reasoning((LEFT, RIGHT), "two dogs")
    assert isinstance(one, Truth)
    assert one.label is (one.score >= 0.5)
    path = tmp_path / "a.png"
    path.write_bytes(RIGHT)
    several = client.reasoning([LEFT, path], ["two dogs", "a cat"])
    assert isinstance(several, Truths)
    assert [result.statement for result in several.results] == ["two dogs", "a cat"]
    assert several.results[0].score == one.score
    assert client.reasoning((RIGHT, LEFT), "two dogs").score != one.score


def test_one_phrase_or_several(client: Client) -> None:
    one = client.grounding(LEFT, "the dog", top_k=3)
    assert isinstance(one, Grounding)
    assert len(one.boxes) == 3
    assert [found.score for found in one.boxes] == sorted((found.score for found in one.boxes), reverse=True)
    assert all(x0 < x1 and y0 < y1 for x0, y0, x1, y1 in (found.box for found in one.boxes))
    several = client.grounding(LEFT, ["the cat", "the dog"])
    assert isinstance(several, Groundings)
    assert [result.phrase for result in several.results] == ["the cat", "the dog"]
    assert several.results[1].boxes[:3] == one.boxes


def test_what_the_server_found_stands_for_its_picture(client: Client) -> None:
    found = client.regions(LEFT, features=True)
    assert found.model == "dummy-extractor@1"
    assert len(found.encoder) == 64
    assert found.feature_size == files.FEATURE_SIZE
    assert found.features is not None
    assert len(found.features) == 4 * len(found.regions) * files.FEATURE_SIZE
    regions = found.to_send()
    model = "dummy-reader-entailment"
    by_regions = client.entailment(None, "a", regions=regions, model=model)
    assert by_regions.scores == client.entailment(LEFT, "a", model=model).scores
    assert client.vqa(None, "a?", regions=regions).answers == client.vqa(LEFT, "a?").answers
    assert client.match(None, ["a"], regions=regions).scores == client.match(LEFT, ["a"]).scores
    model = "dummy-reader-grounding"
    assert (
        client.grounding(None, "a", regions=regions, model=model).boxes
        == client.grounding(LEFT, "a", model=model).boxes
    )
    model, other = "dummy-reader-reasoning", client.regions(RIGHT, features=True).to_send()
    assert (
        client.reasoning(None, "a", regions=(regions, other), model=model).score
        == client.reasoning((LEFT, RIGHT), "a", model=model).score
    )


def test_features_come_only_when_they_are_asked_for(client: Client) -> None:
    found = client.regions(LEFT)
    assert (found.features, found.feature_size) == (None, None)
    with pytest.raises(ValueError, match="features=True"):
        found.to_send()


def sources(folder: Path) -> list[Any]:
    """The same regions in every form that the SDK takes."""
    path = folder / "a.npz"
    path.write_bytes(files.npz())
    boxes, scores = files.BOXES.tolist(), files.SCORES.tolist()
    pixels = [[x0 * 64, y0 * 32, x1 * 64, y1 * 32] for x0, y0, x1, y1 in boxes]
    return [
        path,
        str(path),
        path.read_bytes(),
        bytearray(path.read_bytes()),
        io.BytesIO(path.read_bytes()),
        Regions(boxes, files.FEATURES.astype("<f4").tobytes(), scores),
        Regions(boxes, bytearray(files.FEATURES.astype("<f4").tobytes()), scores),
        Regions(boxes, files.FEATURES.tolist(), scores),
        Regions(files.BOXES, files.FEATURES, files.SCORES),
        Regions(pixels, files.FEATURES.tolist(), scores, size_px=(64, 32)),
    ]


def test_every_form_of_regions_gives_the_same_answers(client: Client, tmp_path: Path) -> None:
    asked = [client.vqa(None, "what?", regions=source) for source in sources(tmp_path)]
    assert {reply.answers for reply in asked} == {asked[0].answers}
    model = "dummy-reader-reasoning"
    left, right = files.npz(), Regions(files.BOXES.tolist(), (files.FEATURES + 1).tolist())
    mixed = client.reasoning(None, "a", regions=(left, right), model=model)
    other = files.npz({"boxes": files.BOXES, "features": files.FEATURES + 1})
    assert mixed.score == client.reasoning(None, "a", regions=[left, other], model=model).score


def test_errors_are_rebuilt_by_kind(client: Client) -> None:
    faults: list[tuple[str, str | None, Any]] = [
        ("invalid_argument", "regions", lambda: client.vqa(None, "a?", regions=b"no file")),
        ("invalid_argument", "regions", lambda: client.entailment(None, "a", regions=files.npz())),
        ("invalid_argument", "hypothesis", lambda: client.entailment(LEFT, " ")),
        ("invalid_argument", "statements[1]", lambda: client.reasoning((LEFT, RIGHT), ["a", " "])),
        ("invalid_image", None, lambda: client.grounding(b"nothing", "a")),
        ("too_large", None, lambda: client.vqa(None, "a?", regions=files.npz(files.many(101)))),
        ("task_not_supported", None, lambda: client.regions(LEFT, model="dummy-reader")),
    ]
    for kind, field, call in faults:
        with pytest.raises(RequestError) as refused:
            call()
        assert (refused.value.kind, refused.value.field) == (kind, field)


def test_a_url_beside_a_file_goes_as_json(client: Client) -> None:
    with pytest.raises(RequestError, match="fetches no URLs"):
        client.reasoning((LEFT, "https://example.org/a.png"), "a")


def test_without_an_extractor_the_kind_says_so() -> None:
    loop = LoopThread()
    service = dummy_service("dummy-reader")
    loop.run(service.start())
    assert loop.run(service.wait_ready(30)).ready
    with (
        Client("http://server", transport=AsgiBridge(create_app(service, ServerConfig()), loop)) as client,
        pytest.raises(RequestError) as refused,
    ):
        client.vqa(LEFT, "what?")
    loop.run(service.close())
    loop.close()
    assert (refused.value.kind, refused.value.status) == ("no_extractor", 409)


def test_numpy_makes_arrays_of_what_was_found(client: Client) -> None:
    found = client.regions(LEFT, features=True)
    assert found.features is not None
    features = np.frombuffer(found.features, dtype="<f4").reshape(-1, found.feature_size or 0)
    assert features.shape == (len(found.regions), files.FEATURE_SIZE)
    assert base64.b64encode(features.tobytes()) == base64.b64encode(found.features)


def test_an_answer_that_is_none_of_this_api() -> None:
    body = {"model": "m@1", "encoder": "e", "regions": [], "features": "AAAA", "feature_size": 3}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=body))
    with Client("http://server", transport=transport) as client, pytest.raises(ProtocolError):
        client.regions(LEFT, features=True)
