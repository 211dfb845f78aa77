"""AdamW over parameter groups: with and without decay, backbone and heads, frozen parameters left out."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from vlp_spec.errors import ConfigError

from vlp_models.training.recipe import OptimisationRecipe

HEAD_PREFIXES = (
    # ViLT's
    *("vqa_classifier.", "nlvr2_classifier.", "itm_score.", "mlm_score.", "rank_output."),
    # UNITER's
    *("vqa_output.", "entailment_output.", "itm_output.", "re_output.", "vcr_output.", "nlvr2_output."),
    *("attn1.", "attn2.", "fc.", "attn_pool.", "cls.", "feat_regress.", "region_classifier."),
)


def freeze_parameters(model: nn.Module, patterns: Sequence[str]) -> int:
    """Stop the gradients of parameters whose names match; returns how many.

    Raises:
        ConfigError: a pattern matches nothing.
    """
    named = dict(model.named_parameters())
    frozen: set[str] = set()
    faults = []
    for pattern in patterns:
        matching = set(fnmatch.filter(named, pattern))
        if not matching:
            faults.append(f"freeze: {pattern!r} matches no parameter; they are named like {next(iter(named))!r}")
        frozen |= matching
    if faults:
        raise ConfigError(faults)
    for name in frozen:
        named[name].requires_grad_(False)
    return len(frozen)


def build_optimizer(
    parameters: Mapping[str, nn.Parameter], recipe: OptimisationRecipe, head_prefixes: tuple[str, ...] = HEAD_PREFIXES
) -> torch.optim.AdamW:
    """Group parameters: biases, norms, embeddings of tokens and positions are not decayed.

    Each group keeps its peak rate in "peak_lr", which the schedule multiplies.

    Args:
        parameters: name -> what is trained.
        recipe: rates and decay.
        head_prefixes: how the names of heads begin.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        is_embedding = "embeddings" in name and not name.endswith(_PATCHES)
        is_decayed = parameter.ndim >= 2 and not is_embedding and not name.endswith(_POSITIONS)
        groups.setdefault((is_decayed, name.startswith(head_prefixes)), []).append(parameter)
    settings = []
    for (is_decayed, is_head), members in groups.items():
        peak = recipe.lr * (recipe.head_lr_factor if is_head else 1.0)
        decay = recipe.weight_decay if is_decayed else 0.0
        settings.append({"params": members, "lr": peak, "peak_lr": peak, "weight_decay": decay})
    betas = (recipe.betas[0], recipe.betas[1])
    return torch.optim.AdamW(settings, lr=recipe.lr, betas=betas, eps=recipe.eps, fused=True)


_POSITIONS = ("pos_embed", "cls_token", "pooler.queries")
_PATCHES = "patch_embedding.weight"  # a dual encoder's matrix, though it stands among its embeddings


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's rate to `factor` times its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
