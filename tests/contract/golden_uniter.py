"""UNITER's reference sets: the published classes, from the backbone's arrays to the losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from golden_case import TRANSPORT_ATOL, Check, GoldenCase
from torch import Tensor
from vlp_models.checkpoints.official_uniter import build_official_uniter
from vlp_models.checkpoints.torch_file import read_torch_file
from vlp_models.families.uniter import UniterModel
from vlp_models.families.uniter_backbone import UniterOutput
from vlp_models.objectives.image_text_matching import image_text_matching_loss
from vlp_models.objectives.masked_language import IGNORED_LABEL, masked_language_loss
from vlp_models.objectives.masked_region_classes import masked_region_class_loss, masked_region_distribution_loss
from vlp_models.objectives.masked_region_features import masked_region_features_loss
from vlp_models.objectives.referring_expression import referring_expression_loss
from vlp_models.objectives.triplet_ranking import triplet_ranking_loss
from vlp_models.objectives.visual_commonsense import visual_commonsense_loss
from vlp_models.objectives.visual_entailment import entailment_loss
from vlp_models.objectives.visual_question_answering import answer_loss
from vlp_models.objectives.visual_reasoning import visual_reasoning_loss
from vlp_models.objectives.word_region_alignment import align_words_to_regions, word_region_alignment_loss

# What the published code puts where our scores are minus infinity.
_NO_REGION = -1e4


@dataclass(frozen=True)
class Batch:
    """A published batch in our layout: text and regions keep their slots, and masks say which are filled."""

    input_ids: Tensor
    text_mask: Tensor
    features: Tensor
    positions: Tensor
    region_mask: Tensor
    gather_index: Tensor
    text_types: Tensor | None
    region_types: Tensor | None
    region_masked: Tensor | None

    @property
    def five(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return self.input_ids, self.text_mask, self.features, self.positions, self.region_mask

    @property
    def regions(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.features, self.positions, self.region_mask

    def compact(self, slots: Tensor) -> Tensor:
        """(B, T + R, D) in our slots to (B, L, D) in the published order, padded tail included."""
        return slots.gather(1, self.gather_index[:, :, None].expand(-1, -1, slots.shape[2]))

    def select(self, rows: slice) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Texts, their mask and the regions of some rows."""
        features, positions, region_mask = self.regions
        return self.input_ids[rows], self.text_mask[rows], (features[rows], positions[rows], region_mask[rows])


@dataclass(frozen=True)
class Encoding:
    """Our output and the states on the way to it, in the published order."""

    output: UniterOutput
    embedded: Tensor
    layers: Tensor
    sequence: Tensor


def check_answers(case: GoldenCase) -> Mapping[str, Check]:
    """Questions with soft scores of answers."""
    model, batch = _model(case), _batch(case)
    logits, targets = _label_logits(model, batch), case.inputs["targets"]
    return (
        _backbone(model, batch) | _answer_losses(logits, targets) | {"loss_train": Check(answer_loss(logits, targets))}
    )


def check_entailment(case: GoldenCase) -> Mapping[str, Check]:
    """Hypotheses, each with one right label."""
    model, batch = _model(case), _batch(case)
    logits, targets = _label_logits(model, batch), case.inputs["targets"]
    loss = entailment_loss(logits, targets.argmax(dim=1))
    return _backbone(model, batch) | _answer_losses(logits, targets) | {"loss_train": Check(loss)}


def check_retrieval(case: GoldenCase) -> Mapping[str, Check]:
    """Ranking of a true pair above exchanged ones, or all texts with all pictures."""
    model = _model(case)
    if "score_matrix" in case.outputs:
        return {"score_matrix": Check(_score_matrix(case, model))}
    batch = _batch(case)
    scores = model.rank_scores(*batch.five)
    groups = scores.reshape(-1, int(case.inputs["sample_size"]))
    margin = float(case.meta.get("margin", 0.2))
    pairs = [[group[[0, other]][None] for other in range(1, len(group))] for group in groups]
    losses = [[triplet_ranking_loss(pair, margin) for pair in row] for row in pairs]
    return _backbone(model, batch) | {
        "rank_scores": Check(scores[:, None]),
        "rank_scores_sigmoid": Check(scores.sigmoid()[:, None]),
        "itm_logits": Check(model.itm_logits(*batch.five)),
        "rank_loss": Check(torch.stack([torch.stack(row) for row in losses])),
        "rank_scores_after_init_output": Check(model.zero_shot_rank_scores(*batch.five)[:, None]),
    }


def check_pair(case: GoldenCase) -> Mapping[str, Check]:
    """A statement on two pictures, whose rows alternate."""
    model, batch = _model(case), _batch(case)
    input_ids, text_mask, left = batch.select(slice(0, None, 2))
    _, _, right = batch.select(slice(1, None, 2))
    return _backbone(model, batch) | _truth(model.nlvr2_logits(input_ids, text_mask, left, right), case)


def check_triplet(case: GoldenCase) -> Mapping[str, Check]:
    """A statement on two pictures, whose regions are in one row."""
    model, batch = _model(case), _batch(case)
    # Where both pictures have the same token type, nothing tells them apart, here as in the published model.
    types = torch.ones_like(batch.region_mask, dtype=torch.int64) if batch.region_types is None else batch.region_types
    features, positions, mask = batch.regions
    left, right = ((features, positions, mask & (types == number)) for number in (1, 2))
    return _backbone(model, batch) | _truth(model.nlvr2_logits(batch.input_ids, batch.text_mask, left, right), case)


def check_referring_expression(case: GoldenCase) -> Mapping[str, Check]:
    """Phrases and the regions that they speak of."""
    model, batch = _model(case), _batch(case)
    # Padding, and whatever else the set does not take for an object.
    scores = model.grounding_scores(*batch.five).masked_fill(case.inputs["obj_masks"], float("-inf"))
    losses = _by_row(referring_expression_loss, scores, case.inputs["targets"][:, 0])
    return _backbone(model, batch) | {"scores": Check(scores.clamp(min=_NO_REGION)), "loss": Check(losses)}


def check_commonsense(case: GoldenCase) -> Mapping[str, Check]:
    """Choices of a question, right or wrong."""
    model, batch = _model(case), _batch(case)
    assert batch.text_types is not None, "the set has no token types"
    logits = model.vcr_logits(*batch.five, text_types=batch.text_types)
    return _backbone(model, batch) | {
        "rank_scores": Check(model.vcr_scores(*batch.five, text_types=batch.text_types)[:, None]),
        "loss": Check(visual_commonsense_loss(logits, case.inputs["targets"][:, 0])),
    }


def check_pretraining(case: GoldenCase) -> Mapping[str, Check]:
    """The four objectives, each on a batch of its own."""
    model = _model(case)
    return (
        _masked_words(case, model)
        | _masked_features(case, model)
        | _masked_classes(case, model)
        | _matching(case, model)
    )


ADAPTERS = {
    "UniterForVisualQuestionAnswering": check_answers,
    "UniterForVisualEntailment": check_entailment,
    "UniterForImageTextRetrieval": check_retrieval,
    "UniterForNlvr2PairedAttn": check_pair,
    "UniterForNlvr2Paired": check_pair,
    "UniterForNlvr2Triplet": check_triplet,
    "UniterForReferringExpressionComprehension": check_referring_expression,
    "UniterForVisualCommonsenseReasoning": check_commonsense,
    "UniterForPretraining": check_pretraining,
}


def _model(case: GoldenCase) -> UniterModel:
    state = read_torch_file(case.path / "weights.pt").state
    return build_official_uniter(state, {**case.config, **case.meta}, case.path.name).to(case.dtype)


def _batch(case: GoldenCase, prefix: str = "") -> Batch:
    """Read a batch; which slots are filled follows from the order that its attended positions are gathered in."""
    arrays = {name.removeprefix(prefix): item for name, item in case.inputs.items() if name.startswith(prefix)}
    input_ids, features, gather_index = arrays["input_ids"], arrays["img_feat"], arrays["gather_index"]
    text_len = input_ids.shape[1]
    assert torch.equal(arrays["position_ids"], torch.arange(text_len)[None]), "positions that do not count from 0"
    filled = torch.zeros(len(input_ids), text_len + features.shape[1], dtype=torch.int64)
    filled.scatter_add_(1, gather_index, arrays["attn_masks"])
    return Batch(
        input_ids=input_ids,
        text_mask=filled[:, :text_len] > 0,
        features=features,
        positions=arrays["img_pos_feat"],
        region_mask=filled[:, text_len:] > 0,
        gather_index=gather_index,
        text_types=arrays.get("txt_type_ids"),
        region_types=arrays.get("img_type_ids"),
        region_masked=arrays.get("img_masks"),
    )


@contextmanager
def _recorded(modules: torch.nn.ModuleList) -> Iterator[list[Tensor]]:
    states: list[Tensor] = []
    hooks = [module.register_forward_hook(lambda _module, _inputs, state: states.append(state)) for module in modules]
    try:
        yield states
    finally:
        for hook in hooks:
            hook.remove()


def _encode(model: UniterModel, batch: Batch) -> Encoding:
    embedded = torch.cat(
        [
            model.uniter.embed_text(batch.input_ids, batch.text_types),
            model.uniter.embed_regions(*batch.regions, batch.region_types, batch.region_masked),
        ],
        dim=1,
    )
    with _recorded(model.uniter.encoder.layer) as states:
        output = model(
            *batch.five,
            text_types=batch.text_types,
            region_types=batch.region_types,
            region_masked=batch.region_masked,
        )
    layers = torch.stack([batch.compact(state) for state in states])
    return Encoding(output, batch.compact(embedded), layers, layers[-1])


def _backbone(model: UniterModel, batch: Batch) -> dict[str, Check]:
    """The arrays that every plain forward pass has."""
    encoding = _encode(model, batch)
    return {
        "embedding_output": Check(encoding.embedded),
        "hidden_states": Check(encoding.layers),
        "sequence_output": Check(encoding.sequence),
        "pooled_output": Check(encoding.output.cls_feats),
    }


def _by_row(loss: Callable[[Tensor, Tensor], Tensor], predicted: Tensor, targets: Tensor) -> Tensor:
    """Our losses are means; the stored ones are often one for each row."""
    rows = zip(predicted.split(1), targets.split(1), strict=True)
    return torch.stack([loss(row, target) for row, target in rows])


def _label_logits(model: UniterModel, batch: Batch) -> Tensor:
    """Published files call both heads the same; three outputs are taken for entailment."""
    method = model.vqa_logits if "vqa" in model.config.heads else model.entailment_logits
    return method(*batch.five)


def _answer_losses(logits: Tensor, targets: Tensor) -> dict[str, Check]:
    losses = _by_row(answer_loss, logits.reshape(-1, 1), targets.reshape(-1, 1))
    return {"logits": Check(logits), "loss_elementwise": Check(losses.reshape(logits.shape))}


def _truth(logits: Tensor, case: GoldenCase) -> dict[str, Check]:
    losses = _by_row(visual_reasoning_loss, logits, case.inputs["targets"])
    return {"logits": Check(logits), "loss": Check(losses)}


def _score_matrix(case: GoldenCase, model: UniterModel) -> Tensor:
    """Every text, padded into one batch, with every picture; a picture is embedded once and shared by the texts."""
    texts = [case.inputs[f"text{row}_input_ids"] for row in range(len(case.outputs["score_matrix"]))]
    input_ids = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
    text_mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(text) for text in texts], batch_first=True)
    text_embeds = model.uniter.embed_text(input_ids)
    columns = []
    for number in case.inputs["image_order"].tolist():
        boxes = case.inputs[f"img{number}_norm_bb"]
        positions = torch.cat([boxes, boxes[:, 4:5] * boxes[:, 5:6]], dim=1)[None]
        mask = torch.ones(1, len(boxes), dtype=torch.bool)
        embeds = model.uniter.embed_regions(case.inputs[f"img{number}_features"][None], positions, mask)
        fused = model.uniter.fuse(
            text_embeds, text_mask, embeds.expand(len(texts), -1, -1), mask.expand(len(texts), -1)
        )
        columns.append(model.rank_output(fused.cls_feats)[:, 0])
    return torch.stack(columns, dim=1)


def _masked_words(case: GoldenCase, model: UniterModel) -> dict[str, Check]:
    batch = _batch(case, "mlm.")
    encoding = _encode(model, batch)
    stored = case.inputs["mlm.txt_labels"]
    labels = stored.masked_fill(stored < 0, IGNORED_LABEL)
    logits = model.mlm_logits(*batch.five)
    masked = labels != IGNORED_LABEL
    losses = _by_row(lambda row, label: masked_language_loss(row[None], label[None]), logits[masked], labels[masked])
    return {
        "mlm.sequence_output": Check(encoding.sequence),
        "mlm.pooled_output": Check(encoding.output.cls_feats),
        "mlm.prediction_scores": Check(model.decode_words(encoding.output.text_feats[masked])),
        "mlm.loss": Check(losses),
    }


def _masked_regions(case: GoldenCase, model: UniterModel, prefix: str) -> tuple[Encoding, Tensor]:
    """The encoding, and the states of the masked regions in row-major order."""
    batch = _batch(case, prefix)
    assert batch.region_masked is not None, f"{prefix} has no masked regions"
    encoding = _encode(model, batch)
    return encoding, encoding.output.region_feats[batch.region_masked]


def _masked_features(case: GoldenCase, model: UniterModel) -> dict[str, Check]:
    encoding, states = _masked_regions(case, model, "mrfr.")
    predicted, features = model.regress_features(states), case.inputs["mrfr.feat_targets"]
    return {
        "mrfr.sequence_output": Check(encoding.sequence),
        "mrfr.prediction_feat": Check(predicted),
        "mrfr.loss_per_region_mean": Check(_by_row(masked_region_features_loss, predicted, features)),
        "mrfr.loss_mean": Check(masked_region_features_loss(predicted, features)),
    }


def _masked_classes(case: GoldenCase, model: UniterModel) -> dict[str, Check]:
    _, states = _masked_regions(case, model, "mrc.")
    logits, probabilities = model.classify_regions(states), case.inputs["mrc.label_targets"]
    divergences = _by_row(masked_region_distribution_loss, logits, probabilities) * logits.shape[1]
    return {
        "mrc.prediction_soft_label": Check(logits),
        "mrckl.loss_per_region_sum": Check(divergences),
        "mrckl.loss_mean": Check(masked_region_distribution_loss(logits, probabilities)),
        "mrc.loss": Check(_by_row(masked_region_class_loss, logits, probabilities)),
    }


def _matching(case: GoldenCase, model: UniterModel) -> dict[str, Check]:
    """Matching of true and exchanged pairs, and the transport between tokens and regions."""
    batch, labels = _batch(case, "itm."), case.inputs["itm.targets"]
    for name, mask in (("txt_pad", batch.text_mask), ("img_pad", batch.region_mask)):
        assert torch.equal(case.inputs[f"itm.ot_inputs.{name}"].bool(), ~mask), f"{name} is not what attention masks"
    encoding = _encode(model, batch)
    output = encoding.output
    scores = model.itm_logits(*batch.five)
    moved = align_words_to_regions(output.text_feats, output.text_mask, output.region_feats, output.region_mask)
    text_len, slots = batch.input_ids.shape[1], batch.input_ids.shape[1] + batch.features.shape[1]
    scattered = _scatter(encoding.sequence, case, slots).float()
    matching_loss = image_text_matching_loss(scores, labels)
    transport = {
        "ot_dist": moved.distance,
        "ot_pos_dist": moved.distance[labels == 1],
        "ot_neg_dist": moved.distance[labels == 0],
        "ot_cost": moved.cost,
        "ot_plan": moved.plan,
        "ot_loss": word_region_alignment_loss(moved.distance, labels, weight=1),
        "loss_total_lambda0.1": matching_loss + word_region_alignment_loss(moved.distance, labels),
    }
    return {
        "itm.sequence_output": Check(encoding.sequence),
        "itm.pooled_output": Check(output.cls_feats),
        "itm.scores": Check(scores),
        "itm.loss": Check(_by_row(image_text_matching_loss, scores, labels)),
        "itm.ot_txt_emb": Check(scattered[:, :text_len]),
        "itm.ot_img_emb": Check(scattered[:, text_len:]),
        **{f"itm.{name}": Check(value, atol=TRANSPORT_ATOL) for name, value in transport.items()},
    }


def _scatter(sequence: Tensor, case: GoldenCase, slots: int) -> Tensor:
    """The published way back from the compact order to slots, which leaves states of padding in padded slots."""
    index = case.inputs["itm.ot_inputs.ot_scatter"]
    width = sequence.shape[2]
    spread = sequence.new_zeros(len(sequence), int(case.inputs["itm.ot_inputs.scatter_max"]) + 1, width)
    return spread.scatter(1, index[:, :, None].expand(-1, -1, width), sequence)[:, :slots]
