"""Similarities of a picture to labels -> scores. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from vlp_pipeline.pipeline import EmbeddingPipeline
from vlp_pipeline.vqa import sigmoid, softmax
from vlp_spec.errors import InferenceError
from vlp_spec.tasks import ClassifyResult, ScoredLabel


def label_vector(vectors: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """What stands for a label that was said in several ways: their mean direction.

    Args:
        vectors: at least one, each (dimension,) of length 1.

    Returns:
        (dimension,) float32 of length 1.

    Raises:
        InferenceError: they cancel each other out.
    """
    if len(vectors) == 1:
        return vectors[0]
    mean = np.mean(vectors, axis=0)
    length = float(np.linalg.norm(mean))
    if not length > 0:
        raise InferenceError("model output: the templates of a label cancel each other out")
    return np.asarray(mean / length, dtype=np.float32)


def score_labels(
    image: NDArray[np.float32], labels: Sequence[str], vectors: Sequence[NDArray[np.float32]], model: EmbeddingPipeline
) -> ClassifyResult:
    """Score labels against a picture; equal scores keep the order of the labels.

    Args:
        image: (dimension,) float32 of length 1.
        vectors: of the labels, likewise.
        model: its scale, bias and scoring: shares of the labels that add up to 1 (softmax), or each label's own
            probability (sigmoid).

    Returns:
        all labels, best first.
    """
    logits = model.logit_scale * (np.stack(vectors).astype(np.float64) @ image) + model.logit_bias
    scores = softmax(logits) if model.scoring == "softmax" else sigmoid(logits)
    best = np.argsort(-logits, kind="stable")
    return ClassifyResult(tuple(ScoredLabel(labels[index], float(scores[index])) for index in best))
