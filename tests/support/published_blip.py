"""BLIP as salesforce/BLIP publishes it: names and shapes of its files, and what its code computes, in plain arithmetic.

Source: its models/{vit,med,nlvr_encoder,blip,blip_vqa,blip_retrieval,blip_nlvr,blip_pretrain}.py and med_config.json.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

Shapes = dict[str, tuple[int, ...]]
KINDS = ("caption", "vqa", "retrieval", "nlvr", "pretrain")
MERGING_FROM = 6


@dataclass(frozen=True)
class Sizes:
    """Widths and depths; an attention head is 64 wide, as in every published file."""

    width: int
    layers: int
    words: int
    positions: int
    vision_width: int
    vision_layers: int
    image_size: int
    patch_size: int
    dimension: int
    queue: int


BASE = Sizes(768, 12, 30524, 512, 768, 12, 384, 16, 256, 57600)
LARGE = Sizes(768, 12, 30524, 512, 1024, 24, 384, 16, 256, 57600)
TINY = Sizes(128, 2, 14, 20, 128, 2, 16, 8, 10, 6)


def published_shapes(kind: str, sizes: Sizes) -> Shapes:
    """Name -> shape of all that a file of this kind holds."""
    vision = _vision_shapes(sizes)
    if kind == "caption":
        return _under("visual_encoder", vision) | _decoder_shapes(sizes, sizes.vision_width)
    if kind == "vqa":
        encoder = _under("text_encoder", _text_shapes(sizes, sizes.vision_width))
        return _under("visual_encoder", vision) | encoder | _decoder_shapes(sizes, sizes.width)
    if kind == "nlvr":
        head = _linear("cls_head.0", sizes.width, sizes.width) | _linear("cls_head.2", 2, sizes.width)
        encoder = _under("text_encoder", _text_shapes(sizes, sizes.vision_width, twin=True))
        return _under("visual_encoder", vision) | encoder | head
    moved = {
        "visual_encoder": vision,
        "text_encoder": _text_shapes(sizes, sizes.vision_width),
        "vision_proj": _linear("", sizes.dimension, sizes.vision_width),
        "text_proj": _linear("", sizes.dimension, sizes.width),
    }
    shapes: Shapes = {"temp": ()} | _linear("itm_head", 2, sizes.width)
    for part, inner in moved.items():
        shapes |= _under(part, inner) | _under(f"{part}_m", inner)
    shapes |= {f"{side}_queue": (sizes.dimension, sizes.queue) for side in ("image", "text")}
    if kind == "pretrain":
        return shapes | {"queue_ptr": (1,)} | _decoder_shapes(sizes, sizes.vision_width)
    return shapes | {"idx_queue": (1, sizes.queue), "ptr_queue": (1,)}


def published_state(kind: str, sizes: Sizes | None = None, seed: int = 0) -> dict[str, Tensor]:
    """Random weights of a size at which outputs differ; the word head is tied, but for pre-training.

    Without `sizes` they are TINY, with as many layers for two pictures that some of them merge.
    """
    sizes = sizes or (replace(TINY, layers=MERGING_FROM + 2) if kind == "nlvr" else TINY)
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    for name, shape in published_shapes(kind, sizes).items():
        if name.endswith("position_ids"):
            state[name] = torch.arange(shape[-1]).expand(1, -1)
        elif "norm" in name.lower() and name.endswith("weight"):
            state[name] = 0.7 + 0.2 * torch.randn(shape, generator=generator)
        else:
            state[name] = torch.randn(shape, generator=generator) * _spread(name, shape)
    if "temp" in state:
        state["temp"] = torch.tensor(0.05)
    if kind in ("caption", "vqa"):
        state["text_decoder.cls.predictions.decoder.weight"] = state[
            "text_decoder.bert.embeddings.word_embeddings.weight"
        ]
    if "text_decoder.cls.predictions.bias" in state:
        state["text_decoder.cls.predictions.decoder.bias"] = state["text_decoder.cls.predictions.bias"]
    return state


class PublishedBlip:
    """What the published code computes from such weights; one text a row, masks as in its own attention."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state = state

    def image_states(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) normalised to (B, 1 + patches, width): models/vit.py."""
        weight = self.state["visual_encoder.patch_embed.proj.weight"]
        patches = F.conv2d(pixels, weight, self.state["visual_encoder.patch_embed.proj.bias"], stride=weight.shape[-1])
        patches = patches.flatten(2).transpose(1, 2)
        start = self.state["visual_encoder.cls_token"].expand(len(patches), -1, -1)
        hidden = torch.cat([start, patches], dim=1) + self.state["visual_encoder.pos_embed"]
        index = 0
        while f"visual_encoder.blocks.{index}.norm1.weight" in self.state:
            block = f"visual_encoder.blocks.{index}"
            normed = self._norm(f"{block}.norm1", hidden, 1e-6)
            query, key, value = self._linear(f"{block}.attn.qkv", normed).chunk(3, dim=-1)
            hidden = hidden + self._linear(f"{block}.attn.proj", _attend(query, key, value, None))
            inner = F.gelu(self._linear(f"{block}.mlp.fc1", self._norm(f"{block}.norm2", hidden, 1e-6)))
            hidden = hidden + self._linear(f"{block}.mlp.fc2", inner)
            index += 1
        return self._norm("visual_encoder.norm", hidden, 1e-6)

    def read(
        self,
        part: str,
        ids: Tensor,
        mask: Tensor,
        looked: Tensor | tuple[Tensor, Tensor] | None = None,
        looked_mask: Tensor | None = None,
        *,
        causal: bool = False,
    ) -> Tensor:
        """(B, T) ids to (B, T, width): models/med.py, or models/nlvr_encoder.py where `looked` is a pair."""
        embeddings = f"{part}.embeddings"
        hidden = self.state[f"{embeddings}.word_embeddings.weight"][ids]
        hidden = hidden + self.state[f"{embeddings}.position_embeddings.weight"][: ids.shape[1]]
        hidden = self._norm(f"{embeddings}.LayerNorm", hidden, 1e-12)
        allowed = mask.bool()[:, None, None, :]
        if causal:
            allowed = allowed & torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril()
        index = 0
        while f"{part}.encoder.layer.{index}.output.dense.weight" in self.state:
            layer = f"{part}.encoder.layer.{index}"
            seen = self._look(f"{layer}.attention.self", hidden, hidden, allowed)
            hidden = self._add(
                f"{layer}.attention.output", self._linear(f"{layer}.attention.output.dense", seen), hidden
            )
            if isinstance(looked, tuple):
                hidden = self._look_at_pair(f"{layer}.crossattention", hidden, looked)
            elif looked is not None:
                at = None if looked_mask is None else looked_mask.bool()[:, None, None, :]
                seen = self._look(f"{layer}.crossattention.self", hidden, looked, at)
                made = self._linear(f"{layer}.crossattention.output.dense", seen)
                hidden = self._add(f"{layer}.crossattention.output", made, hidden)
            inner = F.gelu(self._linear(f"{layer}.intermediate.dense", hidden))
            hidden = self._add(f"{layer}.output", self._linear(f"{layer}.output.dense", inner), hidden)
            index += 1
        return hidden

    def word_logits(self, hidden: Tensor) -> Tensor:
        """(B, T, width) to (B, T, words)."""
        head = "text_decoder.cls.predictions"
        made = F.gelu(self._linear(f"{head}.transform.dense", hidden))
        return self._linear(f"{head}.decoder", self._norm(f"{head}.transform.LayerNorm", made, 1e-12))

    def linear(self, name: str, hidden: Tensor) -> Tensor:
        """A layer by its name."""
        return self._linear(name, hidden)

    def _look_at_pair(self, cross: str, hidden: Tensor, looked: tuple[Tensor, Tensor]) -> Tensor:
        sides = [
            self._linear(f"{cross}.output.dense{side}", self._look(f"{cross}.self{side}", hidden, looked[side], None))
            for side in (0, 1)
        ]
        merging = f"{cross}.output.merge_layer"
        is_merged = f"{merging}.weight" in self.state
        both = self._linear(merging, torch.cat(sides, dim=-1)) if is_merged else (sides[0] + sides[1]) / 2
        return self._add(f"{cross}.output", both, hidden)

    def _look(self, name: str, hidden: Tensor, at: Tensor, allowed: Tensor | None) -> Tensor:
        query = self._linear(f"{name}.query", hidden)
        return _attend(query, self._linear(f"{name}.key", at), self._linear(f"{name}.value", at), allowed)

    def _add(self, name: str, made: Tensor, hidden: Tensor) -> Tensor:
        return self._norm(f"{name}.LayerNorm", made + hidden, 1e-12)

    def _linear(self, name: str, hidden: Tensor) -> Tensor:
        return hidden @ self.state[f"{name}.weight"].T + self.state[f"{name}.bias"]

    def _norm(self, name: str, hidden: Tensor, eps: float) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        centred = hidden - hidden.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt() * weight + bias


def _spread(name: str, shape: tuple[int, ...]) -> float:
    if name.endswith(("embeddings.weight", "pos_embed", "cls_token")):
        return 1.0
    if len(shape) < 2:
        return 0.1
    return (3.0 if ".query." in name or ".key." in name else 1.2) * math.prod(shape[1:]) ** -0.5


def _attend(query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None) -> Tensor:
    query, key, value = (states.unflatten(-1, (-1, 64)).transpose(1, 2) for states in (query, key, value))
    scores = query @ key.transpose(-1, -2) / math.sqrt(64)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, float("-inf"))
    return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)


def _vision_shapes(sizes: Sizes) -> Shapes:
    width, patch = sizes.vision_width, sizes.patch_size
    shapes: Shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + (sizes.image_size // patch) ** 2, width),
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "patch_embed.proj.bias": (width,),
    }
    for index in range(sizes.vision_layers):
        block = f"blocks.{index}"
        shapes |= _norm(f"{block}.norm1", width) | _norm(f"{block}.norm2", width)
        shapes |= _linear(f"{block}.attn.qkv", 3 * width, width) | _linear(f"{block}.attn.proj", width, width)
        shapes |= _linear(f"{block}.mlp.fc1", 4 * width, width) | _linear(f"{block}.mlp.fc2", width, 4 * width)
    return shapes | _norm("norm", width)


def _text_shapes(sizes: Sizes, context: int, *, twin: bool = False) -> Shapes:
    width = sizes.width
    shapes: Shapes = {
        "embeddings.position_ids": (1, sizes.positions),
        "embeddings.word_embeddings.weight": (sizes.words, width),
        "embeddings.position_embeddings.weight": (sizes.positions, width),
        **_norm("embeddings.LayerNorm", width),
    }
    for index in range(sizes.layers):
        layer = f"encoder.layer.{index}"
        cross = f"{layer}.crossattention"
        shapes |= _attention(f"{layer}.attention.self", width, width)
        shapes |= _linear(f"{layer}.attention.output.dense", width, width) | _norm(
            f"{layer}.attention.output.LayerNorm", width
        )
        for side in ("0", "1") if twin else ("",):
            shapes |= _attention(f"{cross}.self{side}", width, context)
            shapes |= _linear(f"{cross}.output.dense{side}", width, width)
        if twin and index >= MERGING_FROM:
            shapes |= _linear(f"{cross}.output.merge_layer", width, 2 * width)
        shapes |= _norm(f"{cross}.output.LayerNorm", width) | _norm(f"{layer}.output.LayerNorm", width)
        shapes |= _linear(f"{layer}.intermediate.dense", 4 * width, width)
        shapes |= _linear(f"{layer}.output.dense", width, 4 * width)
    return shapes


def _decoder_shapes(sizes: Sizes, context: int) -> Shapes:
    head, width = "text_decoder.cls.predictions", sizes.width
    shapes = _under("text_decoder.bert", _text_shapes(sizes, context))
    shapes |= _linear(f"{head}.transform.dense", width, width) | _norm(f"{head}.transform.LayerNorm", width)
    return shapes | _linear(f"{head}.decoder", sizes.words, width) | {f"{head}.bias": (sizes.words,)}


def _attention(name: str, width: int, context: int) -> Shapes:
    shapes = _linear(f"{name}.query", width, width)
    return shapes | _linear(f"{name}.key", width, context) | _linear(f"{name}.value", width, context)


def _linear(name: str, out: int, inner: int) -> Shapes:
    dot = f"{name}." if name else ""
    return {f"{dot}weight": (out, inner), f"{dot}bias": (out,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _under(prefix: str, shapes: Shapes) -> Shapes:
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}
