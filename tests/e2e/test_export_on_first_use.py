"""Checkpoints that `vlpserve serve` and `vlpserve export` turn into graphs, in real processes, and what is answered."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pictures_made as pictures
import pytest
import torch
from dual_encoders import publish, tiny_clip
from PIL import Image
from server_process import ServerProcess
from transformers import CLIPImageProcessorPil, ViltForQuestionAnswering, ViltImageProcessorPil
from transformers_models import WORDS, build_vilt, save_vilt
from vlp_client import Client, NewItem, picture
from vlp_zoo import zoo_path

LABELS = ("red", "blue", "two", "yes", "no")
QUESTIONS = ("w3 w11 w7", "w19 w0 w5 w2 w8 w1", "w4")
ATOL = 1e-5
SHIPPED = "scenes-vilt-vqa"
# Pictures of tests have 96 x 64 pixels: 3 x 2 patches, while the model was made for 2 x 2.
TINY = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "image_size": 64,
    "patch_size": 32,
    "max_position_embeddings": 8,
    "id2label": dict(enumerate(LABELS)),
    "label2id": {label: index for index, label in enumerate(LABELS)},
}


@torch.no_grad()
def _publish(folder: Path) -> list[dict[str, float]]:
    """Write a checkpoint as transformers does; the scores that transformers gives for QUESTIONS."""
    model, processor = build_vilt(ViltForQuestionAnswering, **TINY), ViltImageProcessorPil(size={"shortest_edge": 64})
    save_vilt(model, folder)
    processor.save_pretrained(folder)
    picture = processor(Image.open(io.BytesIO(pictures.png())), return_tensors="pt")
    scores = []
    for question in QUESTIONS:
        ids = torch.tensor([[WORDS.index(word) for word in ("[CLS]", *question.split(), "[SEP]")]])
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **picture).logits[0]
        scores.append(dict(zip(LABELS, logits.sigmoid().tolist(), strict=True)))
    return scores


def _ask(server: ServerProcess, model: str | None = None) -> list[dict[str, float]]:
    with Client(server.url) as client:
        replies = [client.vqa(pictures.png(), question, model=model) for question in QUESTIONS]
    return [{answer.answer: answer.score for answer in reply.answers} for reply in replies]


def _files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_checkpoint_is_exported_once_and_answers_like_its_own_framework(tmp_path: Path) -> None:
    checkpoint, store = tmp_path / "tiny", tmp_path / "store"
    expected = _publish(checkpoint)
    for one, other in itertools.combinations(expected, 2):
        assert max(abs(one[label] - other[label]) for label in LABELS) > 100 * ATOL, "too flat to tell mistakes"
    with ServerProcess(tmp_path, str(checkpoint), VLPSERVE_MODELS_STORE=str(store)) as server:
        first = _ask(server)
        assert f"exporting {checkpoint}" in server.log
        server.terminate()
        assert server.exit_code() == 0, server.log
    for scores, wanted in zip(first, expected, strict=True):
        assert scores == pytest.approx(wanted, abs=ATOL)
    kept = _files(store)
    assert [path.name for path in kept if path.suffix == ".onnx"] == ["model.onnx"]
    with ServerProcess(tmp_path, str(checkpoint), VLPSERVE_MODELS_STORE=str(store)) as server:
        assert _ask(server) == first
        assert "exporting" not in server.log
    assert _files(store) == kept


@torch.no_grad()
def test_a_dual_encoder_is_served_from_its_directory_and_fills_a_collection(tmp_path: Path) -> None:
    theirs, folder = tiny_clip(), tmp_path / "tiny-clip"
    processor = CLIPImageProcessorPil(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})
    publish(theirs, folder)
    processor.save_pretrained(folder)
    colours = ("red", "green", "blue")
    images = {colour: Image.new("RGB", (40, 30), colour) for colour in colours}
    store = str(tmp_path / "models")
    with ServerProcess(tmp_path, str(folder), VLPSERVE_MODELS_STORE=store) as server, Client(server.url) as client:
        vectors = np.asarray(client.embed([picture(images[colour]) for colour in colours]).vectors)
        expected = theirs.get_image_features(**processor(list(images.values()), return_tensors="pt")).pooler_output
        np.testing.assert_allclose(vectors, (expected / expected.norm(dim=-1, keepdim=True)).numpy(), atol=1e-4)
        collection = client.collection("colours")
        assert collection.create().model == "tiny-clip@1"
        collection.add([NewItem(image=image, id=colour) for colour, image in images.items()])
        assert [collection.search(image=images[colour], k=1).hits[0].id for colour in colours] == list(colours)
        said = np.asarray(client.embed(["a red cat"]).vectors)[0]
        order = [colours[index] for index in np.argsort(-(vectors @ said))]
        assert [hit.id for hit in collection.search("a red cat").hits] == order


def test_a_shipped_model_is_exported_as_int8_and_answers_like_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vlp_cli", "export", SHIPPED, "--precision", "int8", "--repository", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f"{SHIPPED}-int8@1"
    picture = sorted((zoo_path() / "samples").glob("*.jpg"))[0]
    arguments = (SHIPPED, f"{SHIPPED}-int8", "--repository", str(tmp_path))
    with ServerProcess(tmp_path, *arguments) as server, Client(server.url) as client:
        assert {model.precision for model in client.models()} == {"fp32", "int8"}
        for question in ("what color is the boat?", "how many things are there?", "is there a red bus?"):
            exact, quantised = (client.vqa(picture, question, model=name, top_k=100) for name in arguments[:2])
            assert (exact.model, quantised.model) == (f"{SHIPPED}@1", f"{SHIPPED}-int8@1")
            scores = {answer.answer: answer.score for answer in exact.answers}
            assert {answer.answer: answer.score for answer in quantised.answers} == pytest.approx(scores, abs=0.1)
