"""A few scenes told in words that a tiny BLIP knows, and what a model says of them, one pair at a time.

Nothing of the graphs, the pipelines or the batches under test is used: pictures are resized by Pillow, texts read by
tokenizers, and logits computed by the torch model.
"""

from __future__ import annotations

import functools
import io
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tiny_blip import IMAGE, IMAGE_SIZE, MAX_TEXT, TEXTS, blip_tokenizer, tiny_blip
from tokenizers import Tokenizer
from vlp_export.exporter import export_checkpoint
from vlp_export.options import ExportOptions
from vlp_models.checkpoints import save_checkpoint
from vlp_models.checkpoints.blip_tokenizer import blip_token_ids
from vlp_models.families.blip import BlipModel
from vlp_models.scenes.dataset import draw_picture

WORDS = sorted(set(" ".join(TEXTS).split()))
PICTURES = 12
COMMON = "the red house is above the tree"
"""A caption of the first picture and of the last one."""
_TELLING = ("crossattention", "patch_embedding", "word_embeddings")
_WEIGHT = 5.0


def telling_blips(*heads: str) -> Path:
    """A folder with "scenes", a checkpoint for each of `heads` ("match", "reasoning"), and "repository" with their
    deployments, of the same names. It is made once for all tests of a process, to be read only.

    With small random weights hardly anything that is said of a picture depends on the text, or the other way round.
    Here pictures and words weigh more, and what all outputs have in common is taken off, so that orders and judgements
    differ from one query to the next.
    """
    for head in heads:
        _export(head)
    return Path(_folder().name)


def records_of(scenes: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (scenes / "test.jsonl").read_text().splitlines()]


class BlipByHand:
    """A model, asked about one picture and one text at a time."""

    def __init__(self, model: BlipModel, scenes: Path) -> None:
        self._model = model
        self._scenes = scenes
        self._texts = Tokenizer.from_str(blip_tokenizer())
        self._texts.enable_truncation(MAX_TEXT)
        self._fuse = blip_token_ids(blip_tokenizer()).fuse

    @torch.no_grad()
    def similarity(self, text: str, record: dict[str, Any]) -> float:
        """The cosine of both embeddings (ITC)."""
        return float(torch.cosine_similarity(self._text_embeds(text), self._image_embeds(record)))

    @torch.no_grad()
    def match_logit(self, text: str, record: dict[str, Any]) -> float:
        """The logit of "belongs together" of the head that reads both (ITM)."""
        ids = self._ids(text, looks=True)[None]
        cross = self._model.text_encoder.cross_states(self._states(record))
        return float(self._model.itm_logits(ids, torch.ones_like(ids), cross)[0, 0, 1])

    @torch.no_grad()
    def truth_logit(self, statement: str, left: dict[str, Any], right: dict[str, Any]) -> float:
        """Above 0 where it takes a statement on two pictures for true."""
        ids = self._ids(statement, looks=True)
        of_left = self._model.side_states(self._states(left), right=False)
        of_right = self._model.side_states(self._states(right), right=True)
        logits = self._model.reasoning_logits(ids, torch.ones_like(ids), of_left, of_right)[0]
        return float(logits[1] - logits[0])

    def judgements(self) -> list[tuple[dict[str, Any], float]]:
        """Each statement of the data set, and its logit."""
        records = {record["id"]: record for record in records_of(self._scenes)}
        return [
            (told, self.truth_logit(told["statement"], record, records[told["other"]]))
            for record in records.values()
            for told in record.get("pair_statements", ())
        ]

    @torch.no_grad()
    def centre(self) -> None:
        """Take off what all embeddings, or all judgements, of the data set have in common."""
        if "reasoning" in self._model.config.heads:
            self._model.cls_head[2].bias[1] -= float(np.median([logit for _, logit in self.judgements()]))
            return
        records = records_of(self._scenes)
        images = torch.cat([self._image_embeds(record) for record in records])
        texts = torch.cat([self._text_embeds(text) for record in records for text in record["captions"]])
        self._model.vision_proj.bias -= images.mean(0)
        self._model.text_proj.bias -= texts.mean(0)

    def _image_embeds(self, record: dict[str, Any]) -> torch.Tensor:
        return self._model.image_embeds(self._states(record))

    def _text_embeds(self, text: str) -> torch.Tensor:
        ids = self._ids(text)
        return self._model.text_embeds(ids, torch.ones_like(ids))

    def _states(self, record: dict[str, Any]) -> torch.Tensor:
        with Image.open(io.BytesIO((self._scenes / record["image"]).read_bytes())) as picture:
            small = picture.convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
        return self._model.encode_image(torch.from_numpy(np.array(small))[None])

    def _ids(self, text: str, *, looks: bool = False) -> torch.Tensor:
        ids = self._texts.encode(text).ids
        return torch.tensor([[self._fuse if looks else ids[0], *ids[1:]]])


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="telling-blip-")
    _write_scenes(Path(folder.name) / "scenes")
    return folder


def _write_scenes(root: Path) -> None:
    """JSON lines and pictures: two captions a picture, and statements about every second pair."""
    rng = random.Random(6)
    (root / "images").mkdir(parents=True)
    lines: list[str] = []
    for index in range(PICTURES):
        picture = draw_picture("test", index, gallery=True)
        (root / "images" / f"{index}.jpg").write_bytes(picture.jpeg)
        record = picture.record | {"id": picture.id, "image": f"images/{index}.jpg"}
        record["captions"] = [_sentence(rng), COMMON if index in (0, PICTURES - 1) else _sentence(rng)]
        for told in record.get("pair_statements", ()):
            told["statement"] = _sentence(rng)
        lines.append(json.dumps(record))
    (root / "test.jsonl").write_text("\n".join(lines) + "\n")


def _sentence(rng: random.Random) -> str:
    return " ".join(rng.choices(WORDS, k=rng.randint(3, MAX_TEXT - 2)))


@functools.cache
def _export(head: str) -> None:
    folder, model = Path(_folder().name), tiny_blip(head)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1 and any(part in name for part in _TELLING):
            parameter.data *= _WEIGHT
    BlipByHand(model, folder / "scenes").centre()
    save_checkpoint(folder / head, model, tokenizer=blip_tokenizer(), image=IMAGE)
    export_checkpoint(folder / head, repository=folder / "repository", options=ExportOptions(proof_samples=2))
