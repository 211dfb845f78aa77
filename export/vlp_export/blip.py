"""BLIP: graphs for captions, for answers, for matching with embeddings, and for statements about two pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vlp_models.checkpoints import LoadedCheckpoint
from vlp_models.families.blip_config import BlipConfig
from vlp_pipeline.decoder_rows import BEAMS_AXIS, PAST_AXIS, TOKENS_AXIS
from vlp_pipeline.label_scores import ITM_LOGITS, LABELS_KEY, REASONING_LOGITS
from vlp_pipeline.pipeline import TEXT_AXIS, TEXTS_AXIS
from vlp_pipeline.text import TextProcessor
from vlp_spec.deployment import AxisLimit
from vlp_spec.repository import LABELS_ASSET, TOKENIZER_ASSET
from vlp_spec.tasks import Task

from vlp_export.blip_parts import BlipParts
from vlp_export.plan import TRUTH_LABELS, AnswerRule, ExportPlan, GraphPlan, LargestEntry

MAX_BATCH = 64
MAX_BEAMS = 64
"""Texts of one request side by side: beams, or answers of a closed list, of which there may be more; then in turns."""
MAX_TEXTS = 64
_TUNED_BATCH, _TUNED_BEAMS, _TUNED_TEXTS, _TUNED_TEXT, _TUNED_PAST = 8, 3, 1, 16, 16
_MIN_TEXT = 4
# Of the published code, whose lengths count the beginning too (configs/caption_coco.yaml, models/blip_vqa.py).
_CAPTION_LENGTHS = 20, 5
_ANSWER_LENGTHS = 10, 1
_NUM_BEAMS = 3


def plan_blip_caption(checkpoint: LoadedCheckpoint) -> ExportPlan:
    """What to export of a BLIP with a head for captions.

    Raises:
        ArtifactError: the checkpoint is of another family.
    """
    model = checkpoint.blip
    parts, config = BlipParts(model), model.config
    beginning = 1 + len(_texts(checkpoint).word_ids(config.prompt))
    return _plan(
        checkpoint,
        (Task.CAPTION,),
        (parts.vision(), parts.cross(model.text_decoder.bert), parts.decoder(masked=False)),
        _decoder_axes(config),
        LargestEntry("logits", (0, -1)),
        head={**_writing(config, _CAPTION_LENGTHS, beginning), "prompt": config.prompt},
    )


def plan_blip_vqa(checkpoint: LoadedCheckpoint) -> ExportPlan:
    """What to export of a BLIP with a head for questions.

    Raises:
        ArtifactError: the checkpoint is of another family.
    """
    model = checkpoint.blip
    parts, config = BlipParts(model), model.config
    assets = {}
    if checkpoint.labels:
        assets[LABELS_ASSET] = (json.dumps(list(checkpoint.labels), ensure_ascii=False, indent=0) + "\n").encode()
    return _plan(
        checkpoint,
        (Task.VQA,),
        (parts.vision(), parts.cross(model.text_encoder), parts.question(), parts.decoder(masked=True)),
        _decoder_axes(config) | _looking_axes(config),
        LargestEntry("logits", (0, -1)),
        head=_writing(config, _ANSWER_LENGTHS, 1),
        assets=assets,
    )


def plan_blip_match(checkpoint: LoadedCheckpoint) -> ExportPlan:
    """What to export of a BLIP with heads for matching and retrieval.

    Raises:
        ArtifactError: the checkpoint is of another family.
    """
    model = checkpoint.blip
    parts, config = BlipParts(model), model.config
    return _plan(
        checkpoint,
        (Task.MATCH, Task.EMBEDDINGS, Task.CLASSIFY),
        (parts.match_vision(), parts.cross(model.text_encoder), parts.fusion(), parts.text()),
        _looking_axes(config),
        LargestEntry(ITM_LOGITS, (0,)),
        head={
            LABELS_KEY: TRUTH_LABELS,
            "dimension": config.dimension,
            "logit_scale": float(model.logit_scale.detach().exp()),
            "logit_bias": 0.0,
            "scoring": "softmax",
        },
    )


def plan_blip_reasoning(checkpoint: LoadedCheckpoint) -> ExportPlan:
    """What to export of a BLIP with a head for statements about two pictures.

    Raises:
        ArtifactError: the checkpoint is of another family.
    """
    parts = BlipParts(checkpoint.blip)
    return _plan(
        checkpoint,
        (Task.REASONING,),
        (parts.vision(), parts.pair()),
        {TEXT_AXIS: _text_limit(checkpoint.blip.config)},
        LargestEntry(REASONING_LOGITS),
        head={LABELS_KEY: TRUTH_LABELS},
    )


def _plan(
    checkpoint: LoadedCheckpoint,
    tasks: tuple[Task, ...],
    graphs: tuple[GraphPlan, ...],
    axes: Mapping[str, AxisLimit],
    answer: AnswerRule,
    *,
    head: Mapping[str, Any],
    assets: Mapping[str, bytes] | None = None,
) -> ExportPlan:
    return ExportPlan(
        family="blip",
        tasks=tasks,
        graphs=graphs,
        axes={"batch": AxisLimit(1, _TUNED_BATCH, MAX_BATCH), **axes},
        image=dict(checkpoint.image),
        text=checkpoint.text,
        answer=answer,
        assets={TOKENIZER_ASSET: checkpoint.tokenizer.encode(), **(assets or {})},
        head=head,
        # A profile for every batch, number of beams and past that there may be has tensors of gigabytes.
        formats=("onnx",),
    )


def _decoder_axes(config: BlipConfig) -> dict[str, AxisLimit]:
    most = config.max_positions
    return {
        BEAMS_AXIS: AxisLimit(1, _TUNED_BEAMS, MAX_BEAMS),
        TOKENS_AXIS: AxisLimit(1, 1, most),
        PAST_AXIS: AxisLimit(1, min(_TUNED_PAST, most), most),
    }


def _looking_axes(config: BlipConfig) -> dict[str, AxisLimit]:
    return {TEXTS_AXIS: AxisLimit(1, _TUNED_TEXTS, MAX_TEXTS), TEXT_AXIS: _text_limit(config)}


def _text_limit(config: BlipConfig) -> AxisLimit:
    longest = config.max_text_len
    return AxisLimit(min(_MIN_TEXT, longest), min(_TUNED_TEXT, longest), longest)


def _writing(config: BlipConfig, lengths: tuple[int, int], beginning: int) -> dict[str, Any]:
    """How the published code lets a model write, in our count of tokens; what the checkpoint says goes before it."""
    longest, shortest = lengths
    published: dict[str, Any] = {
        "max_tokens": max(1, longest - beginning),
        "min_tokens": max(0, shortest - beginning),
        "num_beams": _NUM_BEAMS,
        "length_penalty": 1.0,
        "repetition_penalty": 1.0,
    }
    return published | dict(config.generation)


def _texts(checkpoint: LoadedCheckpoint) -> TextProcessor:
    return TextProcessor.from_file(checkpoint.tokenizer.encode(), checkpoint.blip.config.max_text_len)
