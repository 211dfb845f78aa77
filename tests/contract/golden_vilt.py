"""ViLT's reference sets: ViLTransformerSS, whatever heads it has."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from golden_case import TRANSPORT_ATOL, Check, GoldenCase
from torch import Tensor
from vlp_models.checkpoints.official_vilt import build_official_vilt
from vlp_models.checkpoints.torch_file import read_torch_file
from vlp_models.families.vilt import ViltModel, ViltOutput
from vlp_models.layers.patchify import grid_of_padded, patchify
from vlp_models.objectives.image_text_matching import image_text_matching_loss
from vlp_models.objectives.image_text_retrieval import image_text_retrieval_loss
from vlp_models.objectives.masked_language import masked_language_loss
from vlp_models.objectives.optimal_transport import Transport
from vlp_models.objectives.retrieval_recall import retrieval_recall
from vlp_models.objectives.visual_question_answering import answer_loss, answer_score, soft_targets
from vlp_models.objectives.visual_reasoning import visual_reasoning_loss
from vlp_models.objectives.word_patch_alignment import align_words_to_patches, word_patch_alignment_loss

Pictures = tuple[Tensor, Tensor]


def check_vilt(case: GoldenCase) -> Mapping[str, Check]:
    """Run what the set's arrays ask for; the arrays themselves say which task it is."""
    if 0 < case.config.get("max_image_len", -1) < _largest_picture(case):
        raise NotImplementedError("the set draws a random part of the patches; only whole pictures can be compared")
    torch_file = read_torch_file(case.path / "weights.ckpt")
    model = build_official_vilt(torch_file.state, case.config, case.path.name).to(case.dtype)
    if "score_matrix" in case.outputs:
        return _retrieval_matrix(case, model)
    if "infer1.text_feats" in case.outputs:
        return _pair(case, model)
    if "infer.text_feats" in case.outputs:
        return _pretraining(case, model)
    checks = dict(_encoding(case, model, "", "image"))
    if "vqa_targets" in case.outputs:
        checks |= _answers(case, model)
    if "irtr_scores" in case.outputs:
        checks |= _ranking(case, model)
    return checks


ADAPTERS = {"ViLTransformerSS": check_vilt}


def _largest_picture(case: GoldenCase) -> int:
    """Patches of the largest picture of the set."""
    images = [item for item in case.inputs.values() if item.ndim >= 3 and item.is_floating_point()]
    patch = case.config["patch_size"]
    return max(int(grid_of_padded(item.reshape(-1, *item.shape[-3:]), patch).prod(dim=1).max()) for item in images)


def _pictures(model: ViltModel, images: Tensor) -> Pictures:
    grid = grid_of_padded(images, model.config.patch_size)
    return patchify(images, grid, model.config.patch_size), grid


def _texts(case: GoldenCase, prefix: str = "text") -> tuple[Tensor, Tensor]:
    return case.inputs[f"{prefix}_ids"], case.inputs[f"{prefix}_masks"]


def _encoding(
    case: GoldenCase, model: ViltModel, prefix: str, image: str, image_token_type: int = 1
) -> dict[str, Check]:
    """The arrays that every plain forward pass has."""
    images = case.inputs[image]
    patches, grid = _pictures(model, images)
    block_outputs: list[Tensor] = []
    hooks = [
        block.register_forward_hook(lambda _module, _inputs, output: block_outputs.append(output))
        for block in model.transformer.blocks
    ]
    output = model.encode(patches, grid, *_texts(case), image_token_type)
    for hook in hooks:
        hook.remove()
    text_len = output.text_feats.shape[1]
    patch = model.config.patch_size
    index = case.outputs[f"{prefix}patch_index"]
    return {
        f"{prefix}text_feats": Check(output.text_feats),
        f"{prefix}image_feats": _image_feats(output, case.outputs[f"{prefix}image_feats"], index),
        f"{prefix}cls_feats": Check(output.cls_feats),
        f"{prefix}raw_cls_feats": Check(output.raw_cls_feats),
        f"{prefix}image_masks": Check(output.image_mask, atol=0),
        f"{prefix}patch_index": _patch_index(grid, index),
        f"{prefix}patch_grid_hw": Check([images.shape[2] // patch, images.shape[3] // patch], atol=0),
        f"{prefix}image_feats_rowmajor": Check(output.image_feats),
        f"{prefix}visual_embed_rowmajor": Check(model.transformer.embed_image(patches, grid)[0]),
        f"{prefix}block_outputs_text": Check(torch.stack([hidden[:, :text_len] for hidden in block_outputs])),
    }


def _row_major_order(index: np.ndarray, valid: int) -> np.ndarray:
    """Slots of one picture's valid patches, sorted by row, then column; they come before the padding."""
    return np.lexsort((index[:valid, 1], index[:valid, 0]))


def _image_feats(output: ViltOutput, reference: np.ndarray, index: np.ndarray) -> Check:
    """The stored features are in a random order; put them in ours. Padded slots hold nothing that anyone reads."""
    ordered = np.zeros_like(reference)
    ordered[:, 0] = reference[:, 0]
    for row, mask in enumerate(output.image_mask.numpy()):
        valid = int(mask.sum()) - 1
        ordered[row, 1 : 1 + valid] = reference[row, 1 : 1 + valid][_row_major_order(index[row], valid)]
    return Check(output.image_feats, reference=ordered)


def _patch_index(grid: Tensor, index: np.ndarray) -> Check:
    """Valid slots hold each (row, column) of the picture once; padded slots only positions outside of it."""
    ours, stored = [], []
    for row, (rows, columns) in enumerate(grid.tolist()):
        valid = rows * columns
        ours += [(row, y, x) for y in range(rows) for x in range(columns)]
        stored += [(row, *position) for position in index[row, :valid][_row_major_order(index[row], valid)].tolist()]
        inside = [(y, x) for y, x in index[row, valid:].tolist() if y < rows and x < columns]
        assert not inside, f"row {row}: padded slots hold positions of the picture: {inside}"
    return Check(ours, reference=stored, atol=0)


def _answers(case: GoldenCase, model: ViltModel) -> dict[str, Check]:
    stored = case.outputs["vqa_targets"]
    counts = {np.float32(answer_score(count)): count for count in range(5)}
    # Back to counts of annotators and forth again: only scores that a count gives come out the same.
    answers = [
        {int(label): answer_score(counts.get(np.float32(row[label]), 0)) for label in row.nonzero()[0]}
        for row in stored
    ]
    targets = soft_targets(answers, model.config.num_labels, case.dtype)
    logits = model.vqa_logits(*_pictures(model, case.inputs["image"]), *_texts(case))
    return {
        "logits": Check(logits),
        "vqa_targets": Check(targets, atol=1e-7),
        "loss": Check(answer_loss(logits, targets)),
    }


def _pair(case: GoldenCase, model: ViltModel) -> dict[str, Check]:
    left, right = (_pictures(model, case.inputs[name]) for name in ("image_0", "image_1"))
    logits = model.nlvr2_logits(left, right, *_texts(case))
    labels = torch.from_numpy(case.outputs["labels"])
    return {
        **_encoding(case, model, "infer1.", "image_0", 1),
        **_encoding(case, model, "infer2.", "image_1", 2),
        "logits": Check(logits),
        "labels": Check((labels == 1).long(), atol=0),
        "loss": Check(visual_reasoning_loss(logits, labels)),
    }


def _ranking(case: GoldenCase, model: ViltModel) -> dict[str, Check]:
    pictures = _pictures(model, case.inputs["image"])
    false_texts = sorted(
        name.removesuffix("_ids") for name in case.inputs if name.startswith("false_text_") and name.endswith("_ids")
    )
    false_texts.sort(key=lambda name: int(name.rsplit("_", 1)[1]))
    columns = [model.rank_scores(*pictures, *_texts(case, prefix)) for prefix in ["text", *false_texts]]
    scores = torch.stack(columns, dim=1)
    return {
        "rank_scores": Check(columns[0]),
        "itm_logits": Check(model.itm_logits(*pictures, *_texts(case))),
        "irtr_scores": Check(scores),
        "irtr_loss": Check(image_text_retrieval_loss(scores)),
    }


def _retrieval_matrix(case: GoldenCase, model: ViltModel) -> dict[str, Check]:
    """Every picture with every text; a picture is embedded once, alone, and shared by the texts."""
    input_ids, text_mask = _texts(case)
    text_embeds = model.embed_text(input_ids)
    rows = []
    for name in sorted(name for name in case.inputs if name.startswith("image_")):
        embeds, mask = model.embed_image(*_pictures(model, case.inputs[name][None]))
        texts = len(input_ids)
        fused = model.fuse(text_embeds, text_mask, embeds.expand(texts, -1, -1), mask.expand(texts, -1))
        rows.append(model.rank_output(fused.cls_feats)[:, 0])
    scores = torch.stack(rows)
    owners = case.inputs["score_row_img_index"], case.inputs["text_img_index"]
    recalls = [retrieval_recall(scores, *owners, k) for k in (1, 5, 10)]
    return {
        "score_matrix": Check(scores),
        "recalls_ir1_ir5_ir10_tr1_tr5_tr10": Check([r.image for r in recalls] + [r.text for r in recalls], atol=1e-6),
    }


def _pretraining(case: GoldenCase, model: ViltModel) -> dict[str, Check]:
    pictures, texts = _pictures(model, case.inputs["image"]), _texts(case)
    mlm_logits = model.mlm_logits(*pictures, case.inputs["text_ids_mlm"], texts[1])
    return {
        **_encoding(case, model, "infer.", "image"),
        "infer.itm_logits": Check(model.itm_logits(*pictures, *texts)),
        "infer.mlm_logits": Check(model.mlm_logits(*pictures, *texts)),
        "mlm.logits": Check(mlm_logits),
        "mlm.loss": Check(masked_language_loss(mlm_logits, case.inputs["text_labels_mlm"])),
        **_matching(case, model),
        "demo.plan_rowmajor": Check(_heat_map(case, model).plan, atol=TRANSPORT_ATOL),
    }


def _matching(case: GoldenCase, model: ViltModel) -> dict[str, Check]:
    """Image-text matching with exchanged pictures, and the transport between words and patches."""
    labels = torch.from_numpy(case.outputs["itm.labels"])
    batch = len(labels)
    # The order is drawn at random; how many pairs are true is not.
    true_pairs = torch.zeros(batch).index_fill(0, labels.argsort(descending=True, stable=True)[: batch // 2], 1)
    images = torch.where(labels.bool()[:, None, None, None], case.inputs["image"], case.inputs["false_image_0"])
    patches, grid = _pictures(model, images)
    input_ids, text_mask = _texts(case)
    output = model.encode(patches, grid, input_ids, text_mask)
    logits = model.itm_score(output.cls_feats)
    moved = align_words_to_patches(output.text_feats, text_mask, output.image_feats, output.image_mask)
    return {
        "itm.labels": Check(true_pairs, atol=0),
        "itm.logits": Check(logits),
        "itm.loss": Check(image_text_matching_loss(logits, labels)),
        "itm.cls_feats": Check(output.cls_feats),
        "itm.text_feats": Check(output.text_feats),
        "itm.image_feats_rowmajor": Check(output.image_feats),
        "itm.wpa_loss": Check(word_patch_alignment_loss(moved.distance, labels), atol=TRANSPORT_ATOL),
        "wpa.patch_index": _patch_index(grid, case.outputs["wpa.patch_index"]),
        "wpa.cost_rowmajor": Check(moved.cost, atol=TRANSPORT_ATOL),
        "wpa.plan_rowmajor": Check(moved.plan, atol=TRANSPORT_ATOL),
        "wpa.distance": Check(moved.distance, atol=TRANSPORT_ATOL),
    }


def _heat_map(case: GoldenCase, model: ViltModel) -> Transport:
    """The first example alone, without padding, with the sharper plan of the published demonstration."""
    input_ids, text_mask = (item[:1] for item in _texts(case))
    length = int(text_mask.sum())
    patches, grid = _pictures(model, case.inputs["image"][:1])
    output = model.encode(patches, grid, input_ids[:, :length], text_mask[:, :length])
    return align_words_to_patches(
        output.text_feats, text_mask[:, :length], output.image_feats, output.image_mask, beta=0.1, iterations=1000
    )
