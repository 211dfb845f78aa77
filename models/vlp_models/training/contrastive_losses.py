"""Image-text contrastive learning of pairs, as every family with two embeddings trains it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vlp_models.objectives.contrastive import clamp_scale, contrastive_loss, equal_groups
from vlp_models.objectives.cross_process import gather_rows
from vlp_models.objectives.momentum_queue import EmbeddingQueue, SlowEncoder, momentum_contrastive_loss
from vlp_models.objectives.sigmoid_contrastive import sigmoid_contrastive_loss
from vlp_models.training.losses import ObjectiveLosses, share_of
from vlp_models.training.recipe_objectives import ItcRecipe


class PairEmbeddings(NamedTuple):
    """Embeddings of pairs, all float32 and of length 1."""

    image: Tensor
    """(B, D), this process's."""
    text: Tensor
    """(B, D)."""
    all_image: Tensor
    """(G, D), of all processes."""
    all_text: Tensor
    """(G, D)."""
    own: Tensor
    """(B,) int64, the rows of this process among all."""


class ContrastiveLosses(ObjectiveLosses):
    """A model with a temperature, `logit_scale`, whose pairs are contrasted; families add their other objectives.

    Args:
        model: put on the same device by the caller.
        itc: None leaves contrastive learning out.
        dimension: of an embedding.
    """

    model: Any

    def __init__(self, model: Any, itc: ItcRecipe | None, dimension: int) -> None:
        super().__init__()
        self.model = model
        self.itc = itc
        if itc is not None and itc.queue:
            self.slow = SlowEncoder(model, itc.momentum)
            self.queue = EmbeddingQueue(itc.queue, dimension)
        self._waiting: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    @abstractmethod
    def embed(self, model: Any, arrays: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Pictures and texts of a batch, (B, D) each and not normalised, by `model` or by its slow copy."""

    def after_step(self) -> None:
        """Keep the temperature in bounds; let the slow encoder follow, and the queue take in what it saw."""
        if self.itc is not None and self.itc.loss == "softmax":
            clamp_scale(self.model.logit_scale)
        if self._waiting:
            self.slow.update(self.model)
            for seen in self._waiting:
                self.queue.push(*seen)
            self._waiting = []

    def contrast(
        self, itc: ItcRecipe, pairs: PairEmbeddings, arrays: Mapping[str, Tensor], metrics: dict[str, Tensor]
    ) -> Tensor:
        """The loss of a batch in both directions; pairs of equal texts or equal pictures are no negatives."""
        metrics["scale"] = self.model.logit_scale.detach().exp().reshape(())
        excluded = excluded_pairs(pairs.own, arrays)
        metrics["itc_accuracy"] = best_is_own(pairs, excluded)
        if itc.queue:
            return self._with_queue(itc, pairs, arrays, excluded)
        return self.contrast_rows(pairs, excluded)

    def contrast_rows(self, pairs: PairEmbeddings, excluded: Tensor) -> Tensor:
        """Both directions' loss of pairs, in the way that the family is served."""
        scale = self.model.logit_scale.float().exp()
        bias = getattr(self.model, "logit_bias", None)
        if bias is not None:
            logits = scale * (pairs.image @ pairs.all_text.T) + bias.float()
            return sigmoid_contrastive_loss(logits, pairs.own, excluded)
        to_text = contrastive_loss(scale * (pairs.image @ pairs.all_text.T), pairs.own, excluded)
        to_image = contrastive_loss(scale * (pairs.text @ pairs.all_image.T), pairs.own, excluded)
        return (to_text + to_image) / 2

    def _with_queue(
        self, itc: ItcRecipe, pairs: PairEmbeddings, arrays: Mapping[str, Tensor], excluded: Tensor
    ) -> Tensor:
        """The keys are the slow encoder's, of this batch and of earlier ones."""
        scale = self.model.logit_scale.float().exp()
        groups = (arrays["picture_groups"], arrays["text_groups"])
        with torch.no_grad():
            slow = gather_pairs(*self.embed(self.slow.encoder, arrays))
            old = equal_groups(groups[0][pairs.own], self.queue.picture_groups)
            old = old | equal_groups(groups[1][pairs.own], self.queue.text_groups) | self.queue.is_empty_at
            excluded = torch.cat([excluded, old], dim=1)
        if self.training:
            self._waiting.append((slow.all_image, slow.all_text, *groups))
        losses = []
        for query, slow_query, keys, kept in (
            (pairs.image, slow.image, slow.all_text, self.queue.text_embeds),
            (pairs.text, slow.text, slow.all_image, self.queue.image_embeds),
        ):
            everything = torch.cat([keys, kept]).T
            found, wanted = scale * (query @ everything), scale.detach() * (slow_query @ everything)
            losses.append(momentum_contrastive_loss(found, wanted, pairs.own, alpha=itc.alpha, excluded=excluded))
        return (losses[0] + losses[1]) / 2


def gather_pairs(image: Tensor, text: Tensor) -> PairEmbeddings:
    """Normalise in float32 and gather both with one exchange between the processes."""
    image, text = F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)
    gathered = gather_rows(torch.cat([image, text], dim=1))
    all_image, all_text = gathered.rows.split(image.shape[1], dim=1)
    own = gathered.first + torch.arange(len(image), device=image.device)
    return PairEmbeddings(image, text, all_image, all_text, own)


def excluded_pairs(own: Tensor, arrays: Mapping[str, Tensor]) -> Tensor:
    """(B, G) bool: where row and column have the same text or the same picture, the row itself included."""
    same_text = equal_groups(arrays["text_groups"][own], arrays["text_groups"])
    return same_text | equal_groups(arrays["picture_groups"][own], arrays["picture_groups"])


def best_is_own(pairs: PairEmbeddings, excluded: Tensor) -> Tensor:
    """Share of rows whose own text is the best among all that are not excluded, ()."""
    is_own = F.one_hot(pairs.own, len(pairs.all_text)).to(torch.bool)
    best = (pairs.image @ pairs.all_text.T).masked_fill(excluded & ~is_own, -2.0).argmax(dim=1)
    return share_of(best == pairs.own)
