from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import pictures_made as pictures
import pytest
from asgi_bridge import AsgiBridge, LoopThread
from vlp_client import CapacityError, Client, RequestError, ServerError, VlpClientError, VqaAnswers, VqaResults
from vlp_server.config import ServerConfig
from vlp_server.core.service import Service
from vlp_server.core.settings import CoreSettings
from vlp_server.http.app import create_app


@pytest.fixture
def client(dummy_settings: CoreSettings) -> Iterator[Client]:
    loop = LoopThread()
    service = Service(dummy_settings)
    loop.run(service.start())
    assert loop.run(service.wait_ready(30)).ready
    app = create_app(service, ServerConfig())
    with Client("http://server", transport=AsgiBridge(app, loop)) as client:
        yield client
    loop.run(service.close())
    loop.close()


def test_every_source_of_a_picture_gives_the_same_answers(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(pictures.png())
    with path.open("rb") as file:
        sources = [path, str(path), path.read_bytes(), bytearray(path.read_bytes()), io.BytesIO(path.read_bytes())]
        replies = [client.vqa(source, "what is it?") for source in [*sources, file, pictures.gradient()]]
    assert isinstance(replies[0], VqaAnswers)
    assert replies[0].model == "dummy@1"
    assert len(replies[0].answers) == 5
    assert replies[0].best == replies[0].answers[0].answer
    assert replies[0].timings_ms["total"] > 0
    assert {reply.answers for reply in replies} == {replies[0].answers}


def test_pil_images_keep_their_orientation_and_other_modes_are_converted(client: Client) -> None:
    from PIL import Image

    upright = client.vqa(pictures.gradient(), "what?")
    turned = client.vqa(Image.open(io.BytesIO(pictures.exif_rotated())), "what?")
    cmyk = client.vqa(pictures.gradient().convert("CMYK"), "what?")
    assert turned.answers == upright.answers
    assert len(cmyk.answers) == 5


def test_several_questions_and_a_closed_list(client: Client) -> None:
    reply = client.vqa(pictures.png(), ["a?", "b?"], top_k=1, answers=["red", "blue"], model="dummy")
    assert isinstance(reply, VqaResults)
    assert [result.question for result in reply.results] == ["a?", "b?"]
    assert [len(result.answers) for result in reply.results] == [1, 1]
    assert {result.best for result in reply.results} <= {"red", "blue"}
    alone = client.vqa(pictures.png(), "b?", top_k=1, answers=["red", "blue"])
    assert alone.answers == reply.results[1].answers


def test_errors_are_rebuilt_by_kind(client: Client) -> None:
    with pytest.raises(RequestError) as refused:
        client.vqa(b"nothing", "what?")
    assert (refused.value.kind, refused.value.status) == ("invalid_image", 422)
    assert refused.value.request_id
    with pytest.raises(RequestError) as unknown:
        client.vqa(pictures.png(), "what?", model="other")
    assert unknown.value.kind == "model_not_found"
    with pytest.raises(RequestError) as not_fetched:
        client.vqa("https://example.org/a.png", "what?")
    assert not_fetched.value.field == "image"
    with pytest.raises(ServerError) as failed:
        client.vqa(pictures.png(), "[fail]")
    assert failed.value.kind == "inference_failed"
    assert not isinstance(failed.value, RequestError | CapacityError)
    with pytest.raises(CapacityError) as late:
        client.vqa(pictures.png(), "[stall]", deadline_s=0.05)
    assert late.value.kind == "deadline_exceeded"
    assert late.value.retry_after_s is not None


def test_models_and_readiness(client: Client) -> None:
    (model,) = client.models()
    assert (model.id, model.tasks, model.state, model.default) == ("dummy@1", ("vqa",), "ready", True)
    assert client.ready() is True


def test_the_transport_is_closed_with_the_client() -> None:
    client = Client("http://server", transport=httpx.MockTransport(lambda request: httpx.Response(200)))
    with client:
        pass
    with pytest.raises(VlpClientError, match="closed"):
        client.ready()
