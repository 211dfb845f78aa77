"""AdamW over parameter groups: with and without decay, backbone and heads, frozen parameters left out."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

import torch
from torch import nn
from vlp_spec.errors import ConfigError

from vlp_models.training.recipe import OptimisationRecipe

HEAD_PREFIXES = ("vqa_classifier.", "nlvr2_classifier.", "itm_score.", "mlm_score.", "rank_output.")


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


def build_optimizer(model: nn.Module, recipe: OptimisationRecipe) -> torch.optim.AdamW:
    """Group the trainable parameters: biases, norms, embeddings of tokens and positions are not decayed.

    Each group keeps its peak rate in "peak_lr", which the schedule multiplies.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_decayed = parameter.ndim >= 2 and "embeddings" not in name and not name.endswith(_POSITIONS)
            groups.setdefault((is_decayed, name.startswith(HEAD_PREFIXES)), []).append(parameter)
    settings = []
    for (is_decayed, is_head), parameters in groups.items():
        peak = recipe.lr * (recipe.head_lr_factor if is_head else 1.0)
        decay = recipe.weight_decay if is_decayed else 0.0
        settings.append({"params": parameters, "lr": peak, "peak_lr": peak, "weight_decay": decay})
    betas = (recipe.betas[0], recipe.betas[1])
    return torch.optim.AdamW(settings, lr=recipe.lr, betas=betas, eps=recipe.eps, fused=True)


_POSITIONS = ("pos_embed", "cls_token")


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's rate to `factor` times its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * factor
