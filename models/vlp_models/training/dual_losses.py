"""A dual encoder's objectives in one place: batch arrays in, named losses and their weighted sum out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlp_models.families.dual_encoder import DualEncoder
from vlp_models.objectives.contrastive import clamp_scale, contrastive_loss, equal_groups
from vlp_models.objectives.cross_process import gather_rows
from vlp_models.objectives.momentum_queue import EmbeddingQueue, SlowEncoder, momentum_contrastive_loss
from vlp_models.objectives.region_words import region_words_loss
from vlp_models.objectives.sigmoid_contrastive import sigmoid_contrastive_loss
from vlp_models.training.dual_patches import ImageFeatures, encode_with_patches, project_patches
from vlp_models.training.losses import Batch, ObjectiveLosses, share_of, total_loss, words_among_best
from vlp_models.training.recipe_objectives import ItcRecipe, ObjectivesRecipe


class _Pairs(NamedTuple):
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


class DualLosses(ObjectiveLosses):
    """A dual encoder with its objectives.

    Args:
        model: its temperature (and SigLIP's bias) is trained with it.
        objectives: which ones, and their weights.
    """

    model: DualEncoder
    head_prefixes = ("region_words.",)

    def __init__(self, model: DualEncoder, objectives: ObjectivesRecipe) -> None:
        super().__init__()
        self.model = model
        self.objectives = objectives
        if objectives.regions is not None:
            width = model.config.hf.vision_config.hidden_size
            self.region_words = nn.Linear(width, model.config.vocab_size)
        if objectives.itc is not None and objectives.itc.queue:
            self.slow = SlowEncoder(model, objectives.itc.momentum)
            self.queue = EmbeddingQueue(objectives.itc.queue, model.config.dimension)
        self._waiting: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See ObjectiveLosses; the one stream is that of vlp_models.data.pairs."""
        arrays = batch["pairs"]
        losses: dict[str, tuple[Tensor, float]] = {}
        metrics: dict[str, Tensor] = {"scale": self.model.logit_scale.detach().exp().reshape(())}
        features = encode_with_patches(self.model, arrays["pixels"])
        if self.objectives.itc is not None:
            losses["itc"] = (self._matching(self.objectives.itc, features, arrays, metrics), self.objectives.itc.weight)
        if self.objectives.regions is not None:
            losses["regions"] = (self._words(features, arrays, metrics), self.objectives.regions.weight)
        if self.objectives.phrases is not None:
            losses["phrases"] = (self._phrases(features, arrays, metrics), self.objectives.phrases.weight)
        return total_loss(losses, metrics)

    def after_step(self) -> None:
        """Keep the temperature in bounds; let the slow encoder follow, and the queue take in what it saw."""
        if self.objectives.itc is not None and self.objectives.itc.loss == "softmax":
            clamp_scale(self.model.logit_scale)
        if self._waiting:
            self.slow.update(self.model)
            for seen in self._waiting:
                self.queue.push(*seen)
            self._waiting = []

    def _matching(
        self, itc: ItcRecipe, features: ImageFeatures, arrays: Mapping[str, Tensor], metrics: dict[str, Tensor]
    ) -> Tensor:
        text = self.model.encode_text(arrays["input_ids"], arrays["text_mask"])
        pairs = _gather(features.embeds, text)
        same_text = equal_groups(arrays["text_groups"][pairs.own], arrays["text_groups"])
        same_picture = equal_groups(arrays["picture_groups"][pairs.own], arrays["picture_groups"])
        excluded = same_text | same_picture
        best = (pairs.image @ pairs.all_text.T).masked_fill(excluded & ~_eye(pairs), -2.0).argmax(dim=1)
        metrics["itc_accuracy"] = share_of(best == pairs.own)
        if itc.queue:
            return self._with_queue(itc, pairs, arrays, excluded)
        return self._contrast(pairs, excluded)

    def _contrast(self, pairs: _Pairs, excluded: Tensor) -> Tensor:
        """Both directions' loss of pairs, in the way that the family is served."""
        scale = self.model.logit_scale.float().exp()
        if self.model.logit_bias is not None:
            logits = scale * (pairs.image @ pairs.all_text.T) + self.model.logit_bias.float()
            return sigmoid_contrastive_loss(logits, pairs.own, excluded)
        to_text = contrastive_loss(scale * (pairs.image @ pairs.all_text.T), pairs.own, excluded)
        to_image = contrastive_loss(scale * (pairs.text @ pairs.all_image.T), pairs.own, excluded)
        return (to_text + to_image) / 2

    def _with_queue(self, itc: ItcRecipe, pairs: _Pairs, arrays: Mapping[str, Tensor], excluded: Tensor) -> Tensor:
        """The keys are the slow encoder's, of this batch and of earlier ones."""
        scale = self.model.logit_scale.float().exp()
        groups = (arrays["picture_groups"], arrays["text_groups"])
        with torch.no_grad():
            encoder = self.slow.encoder
            image = encoder.encode_image(arrays["pixels"])  # type: ignore[operator]
            slow = _gather(image, encoder.encode_text(arrays["input_ids"], arrays["text_mask"]))  # type: ignore[operator]
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

    def _words(self, features: ImageFeatures, arrays: Mapping[str, Tensor], metrics: dict[str, Tensor]) -> Tensor:
        middles = features.patches[arrays["region_rows"], arrays["region_slots"]]
        logits, words = self.region_words(middles).float(), arrays["region_words"]
        metrics["region_recall"] = words_among_best(logits, words)
        return region_words_loss(logits, words) * arrays["region_scale"]

    def _phrases(self, features: ImageFeatures, arrays: Mapping[str, Tensor], metrics: dict[str, Tensor]) -> Tensor:
        slots = arrays["phrase_slots"]
        rows = torch.arange(len(slots), device=slots.device) // (len(slots) // len(features.patches))
        patches = project_patches(self.model, features.patches[rows, slots])
        pairs = _gather(patches, self.model.encode_text(arrays["phrase_ids"], arrays["phrase_mask"]))
        excluded = equal_groups(arrays["phrase_groups"][pairs.own], arrays["phrase_groups"])
        best = (pairs.image @ pairs.all_text.T).masked_fill(excluded & ~_eye(pairs), -2.0).argmax(dim=1)
        metrics["phrase_accuracy"] = share_of(best == pairs.own)
        return self._contrast(pairs, excluded)


def _gather(image: Tensor, text: Tensor) -> _Pairs:
    """Normalise in float32 and gather both with one exchange between the processes."""
    image, text = F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)
    gathered = gather_rows(torch.cat([image, text], dim=1))
    all_image, all_text = gathered.rows.split(image.shape[1], dim=1)
    own = gathered.first + torch.arange(len(image), device=image.device)
    return _Pairs(image, text, all_image, all_text, own)


def _eye(pairs: _Pairs) -> Tensor:
    return F.one_hot(pairs.own, len(pairs.all_text)).to(torch.bool)
