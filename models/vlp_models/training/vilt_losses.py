"""ViLT's objectives in one place: batch arrays in, named losses and their weighted sum out."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F
from vlp_spec.errors import ConfigError

from vlp_models.data.masking import IGNORED
from vlp_models.data.matching import KNOWN_FALSE
from vlp_models.families.vilt import ViltModel
from vlp_models.objectives.grounding import GroundingHead, grounding_loss, place_loss
from vlp_models.objectives.image_text_matching import image_text_matching_loss
from vlp_models.objectives.region_words import region_words_loss
from vlp_models.objectives.replaced_words import replaced_words_loss
from vlp_models.objectives.visual_question_answering import answer_loss
from vlp_models.objectives.word_patch_alignment import align_words_to_patches, word_patch_alignment_loss
from vlp_models.training.losses import Batch, ObjectiveLosses, share_of, total_loss, words_among_best
from vlp_models.training.optimizer import HEAD_PREFIXES
from vlp_models.training.recipe_objectives import GroundingRecipe, ObjectivesRecipe, VqaRecipe


class ViltLosses(ObjectiveLosses):
    """A ViLT with its objectives.

    Args:
        model: with the heads that the objectives need.
        objectives: which ones, and their weights.
        label_words: (labels, vocabulary) float, each row the shares of an answer's words; for `vqa.answer_words`.
    """

    model: ViltModel
    label_words: Tensor | None
    head_prefixes = (*HEAD_PREFIXES, "word_truth.", "grounding.")

    def __init__(self, model: ViltModel, objectives: ObjectivesRecipe, label_words: Tensor | None = None) -> None:
        super().__init__()
        self.model = model
        self.objectives = objectives
        self.register_buffer("label_words", label_words, persistent=False)
        if objectives.itm is not None and objectives.itm.words:
            self.word_truth = nn.Linear(model.config.hidden_size, 1)
        self._kept: dict[int, Tensor] = {}
        if objectives.grounding is not None:
            self.grounding = GroundingHead(model.config.hidden_size)
            self._keep_layers(objectives.grounding, model)

    def _keep_layers(self, recipe: GroundingRecipe, model: ViltModel) -> None:
        """Keep what comes out of the blocks that grounding asks, whenever the model runs."""
        if recipe.last_layer > (layers := model.config.num_layers):
            raise ConfigError([f"objectives.grounding.layer: got {recipe.layer}, the model has {layers} blocks"])
        for layer in range(recipe.layer, recipe.last_layer + 1):

            def keep(block: nn.Module, inputs: object, hidden: Tensor, layer: int = layer) -> None:
                self._kept[layer] = hidden

            model.transformer.blocks[layer - 1].register_forward_hook(keep)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See ObjectiveLosses; streams are those of vlp_models.data.streams and .regions."""
        losses: dict[str, tuple[Tensor, float]] = {}
        metrics: dict[str, Tensor] = {}
        if "captions" in batch:
            arrays = batch["captions"]
            if "mlm_ids" in arrays and self.objectives.mlm is not None:
                losses["mlm"] = (self._words(arrays, metrics), self.objectives.mlm.weight)
            if "itm_labels" in arrays and self.objectives.itm is not None:
                self._matching(arrays, losses, metrics)
        if "questions" in batch and self.objectives.vqa is not None:
            self._answers(batch["questions"], self.objectives.vqa, losses, metrics)
        if "regions" in batch and self.objectives.regions is not None:
            losses["regions"] = (self._region_words(batch["regions"], metrics), self.objectives.regions.weight)
        return total_loss(losses, metrics)

    def _words(self, arrays: Mapping[str, Tensor], metrics: dict[str, Tensor]) -> Tensor:
        output = self.model.encode(arrays["patches"], arrays["grid"], arrays["mlm_ids"], arrays["text_mask"])
        hidden = arrays["mlm_targets"] != IGNORED
        # The decoder is the widest layer: only the hidden words go through it.
        logits = self.model.mlm_score(output.text_feats[hidden]).float()
        targets = arrays["mlm_targets"][hidden]
        is_changed = arrays["mlm_ids"][hidden] != targets
        metrics["mlm_accuracy"] = share_of(logits.argmax(-1)[is_changed] == targets[is_changed])
        return F.cross_entropy(logits, targets, reduction="sum") * arrays["mlm_scale"]

    def _region_words(self, arrays: Mapping[str, Tensor], metrics: dict[str, Tensor]) -> Tensor:
        output = self.model.encode(arrays["patches"], arrays["grid"], arrays["input_ids"], arrays["text_mask"])
        middles = output.image_feats[arrays["region_rows"], 1 + arrays["region_slots"]]
        logits, words = self.model.mlm_score(middles).float(), arrays["region_words"]
        metrics["region_recall"] = words_among_best(logits, words)
        return region_words_loss(logits, words) * arrays["region_scale"]

    def _matching(
        self, arrays: Mapping[str, Tensor], losses: dict[str, tuple[Tensor, float]], metrics: dict[str, Tensor]
    ) -> None:
        labels, text_mask = arrays["itm_labels"], arrays["itm_mask"]
        output = self.model.encode(arrays["itm_patches"], arrays["itm_grid"], arrays["itm_ids"], text_mask)
        logits = self.model.itm_score(output.cls_feats).float()
        metrics["itm_accuracy"] = share_of(logits.argmax(-1) == labels)
        if self.objectives.itm is not None:
            losses["itm"] = (image_text_matching_loss(logits, labels), self.objectives.itm.weight)
            if self.objectives.itm.words:
                doubts, words = self.word_truth(output.text_feats)[..., 0].float(), arrays["itm_words"]
                losses["itm_words"] = (replaced_words_loss(doubts, words), self.objectives.itm.words)
                metrics["false_words_found"] = share_of(doubts[words == KNOWN_FALSE] > 0)
        if self.objectives.wpa is not None:
            aligned = align_words_to_patches(output.text_feats, text_mask, output.image_feats, output.image_mask)
            loss = word_patch_alignment_loss(aligned.distance, labels, weight=1.0)
            losses["wpa"] = (loss, self.objectives.wpa.weight)

    def _answers(
        self,
        arrays: Mapping[str, Tensor],
        recipe: VqaRecipe,
        losses: dict[str, tuple[Tensor, float]],
        metrics: dict[str, Tensor],
    ) -> None:
        output = self.model.encode(arrays["patches"], arrays["grid"], arrays["input_ids"], arrays["text_mask"])
        logits, targets = self.model.vqa_classifier(output.cls_feats).float(), arrays["targets"]
        metrics["vqa_accuracy"] = targets.gather(1, logits.argmax(-1, keepdim=True)).mean().detach()
        shares = targets / targets.sum(dim=1, keepdim=True)
        loss = F.cross_entropy(logits, shares) if recipe.loss == "ce" else answer_loss(logits, targets)
        losses["vqa"] = (loss, recipe.weight)
        if self.objectives.grounding is not None:
            self._ground(arrays, output.image_mask, self.objectives.grounding, losses, metrics)
        if recipe.answer_words and self.label_words is not None:
            words = self.model.mlm_score(output.raw_cls_feats).float() @ self.label_words.T
            losses["answer_words"] = (F.cross_entropy(words, shares), recipe.answer_words)

    def _ground(
        self,
        arrays: Mapping[str, Tensor],
        is_patch: Tensor,
        recipe: GroundingRecipe,
        losses: dict[str, tuple[Tensor, float]],
        metrics: dict[str, Tensor],
    ) -> None:
        rows, positions, shares = (arrays[f"ground_{name}"] for name in ("rows", "positions", "shares"))
        kept, self._kept = self._kept, {}
        hidden = kept[recipe.layer]
        words = hidden[rows, positions]
        patches = hidden[:, hidden.shape[1] - is_patch.shape[1] :]
        scores = self.grounding(words, patches[rows], is_patch[rows])
        losses["grounding"] = (grounding_loss(scores, shares, rows, len(hidden)), recipe.weight)
        if len(rows):
            metrics["words_grounded"] = share_of(shares.gather(1, scores.argmax(-1, keepdim=True)) > 0)
        if recipe.centres:
            distances = place_loss(self.grounding.locate(words), arrays["ground_centres"])
            losses["centres"] = (distances * arrays["ground_centres_scale"], recipe.centres)
        if recipe.unsaid:
            losses["unsaid"] = (self._say(words, "unsaid", arrays, metrics), recipe.unsaid)
        if recipe.told:
            losses["told"] = (self._say(kept[recipe.last_layer][rows, positions], "told", arrays, metrics), recipe.told)

    def _say(self, words: Tensor, what: str, arrays: Mapping[str, Tensor], metrics: dict[str, Tensor]) -> Tensor:
        """The loss of what hidden states (W, D) say by the word decoder, as a share of the step's mean."""
        logits, said = self.model.mlm_score(self.model.transformer.norm(words)).float(), arrays[f"ground_{what}"]
        metrics[f"{what}_recall"] = words_among_best(logits, said)
        return region_words_loss(logits, said) * arrays[f"ground_{what}_scale"]
