"""More negatives than a batch holds: a slowly moving encoder, a queue of its embeddings, and its soft targets.

Sources: He et al. 2020 (arXiv:1911.05722), sec. 3.2: queue and momentum encoder; Li et al. 2021 (ALBEF,
arXiv:2107.07651), sec. 3.2 and 3.4: both modalities, and targets mixed with the slow encoder's own similarities.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlp_models.objectives.contrastive import mask_excluded

_NO_GROUP = -1


def momentum_contrastive_loss(
    similarities: Tensor,
    slow_similarities: Tensor,
    targets: Tensor,
    *,
    alpha: float,
    excluded: Tensor | None = None,
) -> Tensor:
    """Cross entropy against soft targets: (1 - alpha) on the own key, alpha spread as the slow encoder sees it.

    Args:
        similarities: (B, K) float, the encoder's queries against the slow encoder's keys, scaled.
        slow_similarities: (B, K) float, the slow encoder's queries against the same keys, scaled; no gradient.
        targets: (B,) int64, the column of each row's own key.
        alpha: 0 to 1.
        excluded: (B, K) bool, as in `contrastive_loss`.

    Returns:
        a scalar, one direction.
    """
    with torch.no_grad():
        slow = mask_excluded(slow_similarities, targets, excluded).softmax(dim=1)
        wanted = alpha * slow + (1 - alpha) * F.one_hot(targets, similarities.shape[1]).to(slow.dtype)
    log_shares = mask_excluded(similarities, targets, excluded).log_softmax(dim=1)
    # An excluded key has no share and a log of -inf: their product must be nothing.
    return -(wanted * log_shares.masked_fill(wanted == 0, 0.0)).sum(dim=1).mean()


class SlowEncoder(nn.Module):
    """An encoder's moving average, without gradients.

    Args:
        encoder: copied; never changed here.
        decay: weight of the past in each update, 0.995 in ALBEF, 0.999 in MoCo.
    """

    def __init__(self, encoder: nn.Module, decay: float) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, encoder: nn.Module) -> None:
        """Move towards `encoder`'s weights."""
        for slow, fast in zip(self.encoder.parameters(), encoder.parameters(), strict=True):
            slow.lerp_(fast.detach(), 1 - self._decay)


class EmbeddingQueue(nn.Module):
    """The newest embeddings of both modalities with the groups of their pairs, first in, first out.

    Args:
        size: pairs kept.
        dimension: of an embedding.
    """

    image_embeds: Tensor
    text_embeds: Tensor
    picture_groups: Tensor
    text_groups: Tensor
    place: Tensor

    def __init__(self, size: int, dimension: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("image_embeds", torch.zeros(size, dimension))
        self.register_buffer("text_embeds", torch.zeros(size, dimension))
        self.register_buffer("picture_groups", torch.full((size,), _NO_GROUP))
        self.register_buffer("text_groups", torch.full((size,), _NO_GROUP))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    @property
    def is_empty_at(self) -> Tensor:
        """(size,) bool: places that hold no pair yet."""
        return self.text_groups == _NO_GROUP

    @torch.no_grad()
    def push(self, image_embeds: Tensor, text_embeds: Tensor, picture_groups: Tensor, text_groups: Tensor) -> None:
        """Put (G, D) embeddings and (G,) groups in the place of the oldest; of more than `size`, the last."""
        count = min(len(text_groups), self.size)
        places = (int(self.place) + torch.arange(count, device=self.place.device)) % self.size
        self.image_embeds[places] = image_embeds[-count:].to(self.image_embeds.dtype)
        self.text_embeds[places] = text_embeds[-count:].to(self.text_embeds.dtype)
        self.picture_groups[places] = picture_groups[-count:]
        self.text_groups[places] = text_groups[-count:]
        self.place.fill_((int(self.place) + count) % self.size)
