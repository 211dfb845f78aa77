"""Manifests and assets of BLIP deployments without their graphs: what pipelines are built from, torch not needed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from vlp_spec.deployment import AxisLimit, Deployment, GraphRef, OutputProof, Proof
from vlp_spec.tasks import Task
from vlp_spec.tensors import TensorSpec

# [DEC] and [ENC] stand where nobody would write them down by heart.
WORDS = ("[PAD]", "[UNK]", "[ENC]", "[CLS]", "[SEP]", "a", "picture", "of", "red", "cat", "##s", "two", ",", "[DEC]")
PAD, UNK, ENC, CLS, SEP, A, PICTURE, OF, RED, CAT, S, TWO, COMMA, DEC = range(14)
SIDE, STATES, WIDTH, HEADS, HEAD_SIZE, DIMENSION = 8, 5, 6, 2, 3, 4
POSITIONS, MAX_TEXT = 12, 6
TRUTH = ["false", "true"]
WRITING = {"max_tokens": 6, "min_tokens": 1, "num_beams": 3, "length_penalty": 1.0, "repetition_penalty": 1.5}
TASKS = {
    "caption": (Task.CAPTION,),
    "vqa": (Task.VQA,),
    "match": (Task.MATCH, Task.EMBEDDINGS, Task.CLASSIFY),
    "reasoning": (Task.REASONING,),
}
HEAD: dict[str, dict[str, Any]] = {
    "caption": {**WRITING, "prompt": "a picture of "},
    "vqa": WRITING,
    "match": {
        "labels": TRUTH,
        "dimension": DIMENSION,
        "logit_scale": 20.0,
        "logit_bias": 0.0,
        "scoring": "softmax",
    },
    "reasoning": {"labels": TRUTH},
}


def blip_words() -> Tokenizer:
    """One id a word of WORDS, all in small letters."""
    made = Tokenizer(models.WordPiece({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens([word for word in WORDS if word.startswith("[")])
    return made


def blip_deployment(kind: str, **changes: Any) -> Deployment:
    """A manifest of one of TASKS, with changed fields where given."""
    made = Deployment(
        name=f"blip-{kind}",
        version=1,
        family="blip",
        tasks=TASKS[kind],
        precision="fp32",
        graphs=tuple(
            GraphRef(role, f"blip-{role}", 1, "onnxruntime", {}, tuple(inputs), tuple(outputs))
            for role, (inputs, outputs) in _GRAPHS[kind].items()
        ),
        image={"type": "clip", "height": SIDE, "width": SIDE, "resample": "bicubic"},
        text={"type": "bert", "max_length": MAX_TEXT},
        axes={
            "batch": AxisLimit(1, 8, 64),
            "beams": AxisLimit(1, 3, 16),
            "tokens": AxisLimit(1, 1, POSITIONS),
            "past": AxisLimit(1, 4, POSITIONS),
            "texts": AxisLimit(1, 1, 16),
            "text": AxisLimit(4, 4, MAX_TEXT),
        },
        assets={},
        proof=Proof((OutputProof("logits", 0.0, 0.0, 1e-4, 1e-4),), samples=1, agreement=1.0, min_agreement=1.0),
        canary_tolerance=1e-3,
        source={},
        producers={},
        created="2025-01-01T00:00:00Z",
        head=HEAD[kind],
    )
    return replace(made, **changes)


def write_blip_assets(folder: Path, answers: list[str] | None = None) -> Path:
    """The folder with tokenizer.json, and labels.json where there are answers."""
    (folder / "tokenizer.json").write_text(blip_words().to_str(), encoding="utf-8")
    if answers is not None:
        (folder / "labels.json").write_text(json.dumps(answers), encoding="utf-8")
    return folder


def _floats(name: str, *shape: int | str) -> TensorSpec:
    return TensorSpec(name, "float32", ("batch", *shape))


def _ints(name: str, *shape: int | str) -> TensorSpec:
    return TensorSpec(name, "int32", ("batch", *shape))


def _block(name: str, *shape: int | str) -> list[TensorSpec]:
    return [_floats(f"{name}_key_0", *shape), _floats(f"{name}_value_0", *shape)]


def _decoder(looked: int | str) -> tuple[list[TensorSpec], list[TensorSpec]]:
    inputs = [_ints("input_ids", "beams", "tokens"), _ints("past_lengths")]
    inputs += _block("past", "beams", HEADS, "past", HEAD_SIZE) + _block("at", HEADS, looked, HEAD_SIZE)
    inputs += [_ints("at_mask", looked)] if looked == "text" else []
    new = _block("new", "beams", HEADS, "tokens", HEAD_SIZE)
    return inputs, [_floats("logits", "beams", "tokens", len(WORDS)), *new]


_SEEN = (HEADS, STATES, HEAD_SIZE)
_VISION = ([TensorSpec("pixels", "uint8", ("batch", SIDE, SIDE, 3))], [_floats("image_states", STATES, WIDTH)])
_CROSS = ([_floats("seen_states", STATES, WIDTH)], _block("cross", *_SEEN))
_LOOKING = [_ints("question_ids", "texts", "text"), _ints("question_mask", "texts", "text"), *_block("looked", *_SEEN)]
_TEXT = [_ints("input_ids", "text"), _ints("text_mask", "text")]
_PAIR = [_floats("left_states", STATES, WIDTH), _floats("right_states", STATES, WIDTH), *_TEXT]
_GRAPHS: dict[str, dict[str, tuple[list[TensorSpec], list[TensorSpec]]]] = {
    "caption": {"vision": _VISION, "cross": _CROSS, "decoder": _decoder(STATES)},
    "vqa": {
        "vision": _VISION,
        "cross": _CROSS,
        "question": (_LOOKING, _block("question", "texts", HEADS, "text", HEAD_SIZE)),
        "decoder": _decoder("text"),
    },
    "match": {
        "vision": (_VISION[0], [*_VISION[1], _floats("image_embeds", DIMENSION)]),
        "cross": _CROSS,
        "fusion": (_LOOKING, [_floats("itm_logits", "texts", 2)]),
        "text": (_TEXT, [_floats("text_embeds", DIMENSION)]),
    },
    "reasoning": {"vision": _VISION, "pair": (_PAIR, [_floats("reasoning_logits", 2)])},
}
