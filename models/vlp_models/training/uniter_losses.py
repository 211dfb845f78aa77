"""UNITER's objectives in one place: batch arrays in, named losses and their weighted sum out."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from vlp_models.data.masking import IGNORED
from vlp_models.families.uniter import Regions, UniterModel
from vlp_models.objectives.image_text_matching import image_text_matching_loss
from vlp_models.objectives.masked_region_classes import masked_region_class_loss, masked_region_distribution_loss
from vlp_models.objectives.masked_region_features import masked_region_features_loss
from vlp_models.objectives.referring_expression import referring_expression_loss
from vlp_models.objectives.visual_question_answering import answer_loss
from vlp_models.objectives.visual_reasoning import visual_reasoning_loss
from vlp_models.objectives.word_region_alignment import align_words_to_regions, word_region_alignment_loss
from vlp_models.training.losses import Batch, ObjectiveLosses, Weighted, share_of, total_loss
from vlp_models.training.optimizer import HEAD_PREFIXES
from vlp_models.training.recipe_objectives import MrmRecipe, ObjectivesRecipe

_REGIONS = ("region_features", "region_positions", "region_mask")


class UniterLosses(ObjectiveLosses):
    """A UNITER with its objectives.

    Args:
        model: with the heads that the objectives need.
        objectives: which ones, and their weights.
    """

    model: UniterModel
    head_prefixes = HEAD_PREFIXES

    def __init__(self, model: UniterModel, objectives: ObjectivesRecipe) -> None:
        super().__init__()
        self.model = model
        self.objectives = objectives

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See ObjectiveLosses; streams are those of `uniter_streams`."""
        losses: Weighted = {}
        metrics: dict[str, Tensor] = {}
        wanted = self.objectives
        if (arrays := batch.get("captions")) is not None:
            if wanted.mlm is not None and "mlm_ids" in arrays:
                losses["mlm"] = (self._words(arrays, metrics), wanted.mlm.weight)
            if wanted.itm is not None and "itm_labels" in arrays:
                self._matching(arrays, losses, metrics)
        if (arrays := batch.get("masked_regions")) is not None and wanted.mrm is not None:
            self._hidden_regions(arrays, wanted.mrm, losses)
        if (arrays := batch.get("questions")) is not None and wanted.vqa is not None:
            logits = self.model.vqa_logits(*_inputs(arrays)).float()
            losses["vqa"] = (_label_loss(logits, arrays["targets"], wanted.vqa.loss), wanted.vqa.weight)
            metrics["vqa_accuracy"] = _label_accuracy(logits, arrays["targets"])
        if (arrays := batch.get("hypotheses")) is not None and wanted.entailment is not None:
            logits = self.model.entailment_logits(*_inputs(arrays)).float()
            loss = _label_loss(logits, arrays["targets"], wanted.entailment.loss)
            losses["entailment"] = (loss, wanted.entailment.weight)
            metrics["entailment_accuracy"] = _label_accuracy(logits, arrays["targets"])
        if (arrays := batch.get("pair_statements")) is not None and wanted.reasoning is not None:
            logits = self.pair_logits(arrays).float()
            losses["reasoning"] = (visual_reasoning_loss(logits, arrays["labels"]), wanted.reasoning.weight)
            metrics["reasoning_accuracy"] = share_of(logits.argmax(-1) == arrays["labels"])
        if (arrays := batch.get("phrases")) is not None and wanted.referring is not None:
            scores = self.model.grounding_scores(*_inputs(arrays)).float()
            losses["referring"] = (referring_expression_loss(scores, arrays["targets"]), wanted.referring.weight)
            metrics["referring_accuracy"] = share_of(scores.argmax(-1) == arrays["targets"])
        return total_loss(losses, metrics)

    def pair_logits(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """(B, 2) of statements with both their pictures."""
        left, right = (_regions(arrays, prefix) for prefix in ("left_", "right_"))
        return self.model.nlvr2_logits(arrays["input_ids"], arrays["text_mask"], left, right)

    def _words(self, arrays: Mapping[str, Tensor], metrics: dict[str, Tensor]) -> Tensor:
        output = self.model.encode(arrays["mlm_ids"], arrays["text_mask"], *_regions(arrays))
        hidden = arrays["mlm_targets"] != IGNORED
        # The decoder is the widest layer: only the hidden words go through it.
        logits, targets = self.model.decode_words(output.text_feats[hidden]).float(), arrays["mlm_targets"][hidden]
        is_changed = arrays["mlm_ids"][hidden] != targets
        metrics["mlm_accuracy"] = share_of(logits.argmax(-1)[is_changed] == targets[is_changed])
        return F.cross_entropy(logits, targets, reduction="sum") * arrays["mlm_scale"]

    def _matching(self, arrays: Mapping[str, Tensor], losses: Weighted, metrics: dict[str, Tensor]) -> None:
        labels, text_mask, itm = arrays["itm_labels"], arrays["itm_mask"], self.objectives.itm
        output = self.model.encode(arrays["itm_ids"], text_mask, *_regions(arrays, "itm_"))
        logits = self.model.itm_output(output.cls_feats).float()
        metrics["itm_accuracy"] = share_of(logits.argmax(-1) == labels)
        if itm is not None:
            losses["itm"] = (image_text_matching_loss(logits, labels), itm.weight)
        if self.objectives.wpa is not None:
            aligned = align_words_to_regions(output.text_feats, text_mask, output.region_feats, output.region_mask)
            loss = word_region_alignment_loss(aligned.distance, labels, weight=1.0)
            losses["wra"] = (loss, self.objectives.wpa.weight)

    def _hidden_regions(self, arrays: Mapping[str, Tensor], recipe: MrmRecipe, losses: Weighted) -> None:
        masked, scale = arrays["region_masked"], arrays["region_scale"]
        output = self.model.encode(*_inputs(arrays), region_masked=masked)
        found = output.region_feats[masked]
        # The losses are means over this batch's hidden regions; the scale wants sums.
        scale = scale * len(found)
        if recipe.features:
            guessed = self.model.regress_features(found).float()
            loss = masked_region_features_loss(guessed, arrays["region_features"][masked].float())
            losses["mrfr"] = (loss * scale, recipe.weight * recipe.features)
        if recipe.classes or recipe.distribution:
            logits, classes = self.model.classify_regions(found).float(), arrays["region_classes"]
            if recipe.classes:
                loss = masked_region_class_loss(logits, classes)
                losses["mrc"] = (loss * scale, recipe.weight * recipe.classes)
            if recipe.distribution:
                loss = masked_region_distribution_loss(logits, classes)
                losses["mrc_kl"] = (loss * scale, recipe.weight * recipe.distribution)


def _regions(arrays: Mapping[str, Tensor], prefix: str = "") -> Regions:
    features, positions, mask = (arrays[f"{prefix}{name}"] for name in _REGIONS)
    return features, positions, mask


def _inputs(arrays: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    return arrays["input_ids"], arrays["text_mask"], *_regions(arrays)


def _label_loss(logits: Tensor, targets: Tensor, loss: str) -> Tensor:
    if loss == "bce":
        return answer_loss(logits, targets)
    return F.cross_entropy(logits, targets / targets.sum(dim=1, keepdim=True))


def _label_accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    return targets.gather(1, logits.argmax(-1, keepdim=True)).mean().detach()
