"""BLIP's image-text matching: true pairs against hard negatives of the batch and captions that are nearly true."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from vlp_models.families.blip import BlipModel
from vlp_models.layers.med_block import KeysValues
from vlp_models.objectives.image_text_matching import image_text_matching_loss
from vlp_models.training.losses import share_of


def draw_negatives(similarities: Tensor, excluded: Tensor) -> tuple[Tensor, Tensor]:
    """A wrong text for every picture and a wrong picture for every text, drawn as likely as they are taken for right.

    Args:
        similarities: (B, B) float, cosines times the learned scale, pictures by texts; equal numbers draw evenly.
        excluded: (B, B) bool, symmetric, true = not wrong: the pair itself, the same text or the same picture.

    Returns:
        texts (B,) and pictures (B,) int64; -1 where nothing is wrong.

    Source: Li et al. 2021 (ALBEF, arXiv:2107.07651), sec. 3.2.
    """
    drawn = []
    for scores in (similarities, similarities.T):
        shares = scores.detach().float().masked_fill(excluded, -torch.inf).softmax(dim=1)
        none = excluded.all(dim=1)  # the softmax of nothing is no number
        picked = torch.multinomial(shares.masked_fill(none[:, None], 1.0), 1)[:, 0]
        drawn.append(picked.masked_fill(none, -1))
    return drawn[0], drawn[1]


def matching_loss(
    model: BlipModel,
    states: Tensor,
    arrays: Mapping[str, Tensor],
    negatives: tuple[Tensor, Tensor],
    metrics: dict[str, Tensor],
) -> Tensor:
    """Mean over true pairs, pictures with a wrong text, and texts with a wrong picture.

    Args:
        model: with the "match" head.
        states: (B, S, D) of `encode_image`.
        arrays: of vlp_models.data.pairs; a row's false text, where it has one, goes before the drawn one.
        negatives: of `draw_negatives`.
        metrics: gets "itm_accuracy".
    """
    texts, pictures = negatives
    cross = model.text_encoder.cross_states(states)
    ids, mask = _side_by_side(arrays, texts.clamp(min=0))
    has_text = texts >= 0
    has_text[arrays["false_rows"]] = True
    ids[:, :, 0] = model.config.tokens.fuse
    two = model.itm_logits(ids, mask, cross)
    shown = [KeysValues(own.keys[pictures.clamp(min=0)], own.values[pictures.clamp(min=0)]) for own in cross]
    width = arrays["input_ids"].shape[1]
    other = model.itm_logits(ids[:, :1, :width], mask[:, :1, :width], shown)
    logits = torch.cat([two[:, 0], two[has_text, 1], other[pictures >= 0, 0]]).float()
    labels = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    labels[: len(two)] = 1
    metrics["itm_accuracy"] = share_of(logits.argmax(-1) == labels)
    if len(arrays["false_rows"]):
        false = two[arrays["false_rows"], 1]
        metrics["false_texts_found"] = share_of(false.argmax(-1) == 0)
    return image_text_matching_loss(logits, labels)


def _side_by_side(arrays: Mapping[str, Tensor], drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Ids and mask (B, 2, T): a picture's own text, and its wrong one."""
    own_ids, own_mask = arrays["input_ids"], arrays["text_mask"]
    rows, false_ids, false_mask = arrays["false_rows"], arrays["false_ids"], arrays["false_mask"]
    width = max(own_ids.shape[1], false_ids.shape[1] if len(rows) else 0)
    grow = width - own_ids.shape[1]
    own_ids, own_mask = F.pad(own_ids, (0, grow)), F.pad(own_mask, (0, grow))
    wrong_ids, wrong_mask = own_ids[drawn], own_mask[drawn]
    if len(rows):
        more = width - false_ids.shape[1]
        wrong_ids[rows], wrong_mask[rows] = F.pad(false_ids, (0, more)), F.pad(false_mask, (0, more))
    return torch.stack([own_ids, wrong_ids], dim=1), torch.stack([own_mask, wrong_mask], dim=1)
