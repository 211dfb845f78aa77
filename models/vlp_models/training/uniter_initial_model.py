"""The UNITER that a run starts with: random, or a checkpoint's weights with the heads that the objectives need."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import torch
from vlp_spec.errors import ArtifactError

from vlp_models.families.uniter import UniterModel
from vlp_models.families.uniter_config import UniterConfig
from vlp_models.training.optimizer import HEAD_PREFIXES
from vlp_models.training.recipe import Recipe

logger = logging.getLogger(__name__)
_PAIR_TYPES = 3
_TYPES = "uniter.embeddings.token_type_embeddings.weight"


def wanted_heads(recipe: Recipe) -> tuple[str, ...]:
    """The heads that the objectives train; a checkpoint's other heads are left behind."""
    objectives = recipe.objectives
    mrm = objectives.mrm
    wanted = {
        "vqa": objectives.vqa is not None,
        "entailment": objectives.entailment is not None,
        "nlvr2": objectives.reasoning is not None,
        "itm": objectives.itm is not None,
        "grounding": objectives.referring is not None,
        "mlm": objectives.mlm is not None,
        "mrfr": mrm is not None and mrm.features > 0,
        "mrc": mrm is not None and mrm.classes + mrm.distribution > 0,
    }
    return tuple(head for head, is_wanted in wanted.items() if is_wanted)


def build_uniter(
    recipe: Recipe,
    vocab_size: int,
    *,
    region_size: int,
    num_region_classes: int,
    num_labels: int,
    labels: tuple[str, ...],
) -> UniterModel:
    """A model with random weights, drawn from torch's generator.

    Args:
        recipe: shape, heads.
        vocab_size: of the run's tokenizer.
        region_size: numbers of a region's features.
        num_region_classes: of the detector, the background included.
        num_labels: answers.
        labels: of entailment.
    """
    shape, heads = recipe.model, wanted_heads(recipe)
    config = UniterConfig(
        hidden_size=shape.hidden_size,
        num_layers=shape.num_layers,
        num_heads=shape.num_heads,
        intermediate_size=round(shape.mlp_ratio * shape.hidden_size),
        vocab_size=vocab_size,
        max_positions=recipe.text.max_length,
        heads=heads,
        num_token_types=_PAIR_TYPES if "nlvr2" in heads else 2,
        region_size=region_size,
        num_region_classes=num_region_classes,
        **_head_sizes(recipe, heads, num_labels, labels),
    )
    model = UniterModel(config)
    model.init_weights()
    return model


def adapt_uniter(
    source: UniterModel,
    recipe: Recipe,
    *,
    num_region_classes: int,
    num_labels: int,
    labels: tuple[str, ...],
    same_answers: bool = True,
) -> UniterModel:
    """A model with `source`'s weights and the recipe's heads; a head that it lacks, or of other outputs, is new.

    Where a second picture is read for the first time, its token type starts as a copy of the first one's, as the
    published fine-tuning does it.

    Args:
        source: of any heads.
        recipe: heads, dropout.
        num_region_classes: of the detector whose regions are trained on.
        num_labels: answers.
        labels: of entailment.
        same_answers: whether the answers are those that `source` was trained on, in their order.

    Raises:
        ArtifactError: a part other than a head would stay random.
    """
    heads = wanted_heads(recipe)
    types = max(source.config.num_token_types, _PAIR_TYPES) if "nlvr2" in heads else source.config.num_token_types
    cleared: dict[str, Any] = {"num_labels": 0, "entailment_labels": ()}
    sizes = cleared | _head_sizes(recipe, heads, num_labels, labels)
    if "mrc" in heads:
        sizes["num_region_classes"] = num_region_classes
    model = UniterModel(replace(source.config, heads=heads, num_token_types=types, **sizes))
    model.init_weights()
    expected, given = model.state_dict(), dict(source.state_dict())
    if labels != source.config.entailment_labels:  # as many others would fit, and mean something else
        given = {name: value for name, value in given.items() if not name.startswith("entailment_output.")}
    if not same_answers:
        given = {name: value for name, value in given.items() if not name.startswith("vqa_output.")}
    missing_types = types - source.config.num_token_types
    if missing_types > 0:
        table = given[_TYPES]
        given[_TYPES] = torch.cat([table, table[-1:].expand(missing_types, -1)])
    fitting = {name: given[name] for name in expected if name in given and given[name].shape == expected[name].shape}
    fresh = sorted(set(expected) - set(fitting))
    if strangers := [name for name in fresh if not name.startswith(HEAD_PREFIXES)]:
        raise ArtifactError(f"model.init {recipe.model.init}: does not have {', '.join(strangers[:5])}")
    # A head whose last layer has another width starts anew as a whole.
    new_heads = {name.split(".")[0] for name in fresh}
    model.load_state_dict(
        {name: value for name, value in fitting.items() if name.split(".")[0] not in new_heads}, strict=False
    )
    if new_heads:
        logger.info("new heads: %s", ", ".join(sorted(new_heads)))
    return model


def _head_sizes(recipe: Recipe, heads: tuple[str, ...], num_labels: int, labels: tuple[str, ...]) -> dict[str, Any]:
    reasoning = recipe.objectives.reasoning
    return {
        "dropout": recipe.model.dropout,
        "attention_dropout": recipe.model.dropout,
        **({"num_labels": num_labels} if "vqa" in heads else {}),
        **({"entailment_labels": labels} if "entailment" in heads else {}),
        **({"nlvr2_variant": reasoning.variant} if reasoning is not None else {}),
    }
