from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from vlp_models.families.uniter import UniterModel
from vlp_models.families.uniter_config import NLVR2_VARIANTS, UniterConfig
from vlp_models.objectives.masked_language import masked_language_loss
from vlp_models.objectives.word_region_alignment import align_words_to_regions
from vlp_models.training.recipe_objectives import (
    EntailmentRecipe,
    ItmRecipe,
    MlmRecipe,
    MrmRecipe,
    ObjectivesRecipe,
    ReasoningRecipe,
    ReferringRecipe,
    VqaRecipe,
    WpaRecipe,
)
from vlp_models.training.uniter_losses import UniterLosses

HEADS = ("vqa", "entailment", "nlvr2", "itm", "grounding", "mlm", "mrfr", "mrc")
ROWS, WIDTH, CLASSES = 4, 5, 3
Arrays = dict[str, Tensor]


def build(variant: str = "paired-attn") -> UniterModel:
    torch.manual_seed(0)
    config = UniterConfig(
        hidden_size=8,
        num_layers=1,
        num_heads=2,
        intermediate_size=16,
        vocab_size=20,
        max_positions=8,
        heads=HEADS,
        num_token_types=3,
        region_size=WIDTH,
        num_region_classes=CLASSES,
        num_labels=3,
        entailment_labels=("no", "open", "yes"),
        nlvr2_variant=variant,
        dropout=0.0,
        attention_dropout=0.0,
    )
    model = UniterModel(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture
def model() -> UniterModel:
    return build()


def regions(seed: int, prefix: str = "") -> Arrays:
    rng = np.random.default_rng(seed)
    counts = (np.arange(ROWS) + seed) % 3 + 1
    mask = np.arange(3) < counts[:, None]
    features = rng.normal(size=(ROWS, 3, WIDTH)).astype(np.float16) * mask[..., None]
    return {
        f"{prefix}region_features": torch.from_numpy(features),
        f"{prefix}region_positions": torch.from_numpy(rng.random((ROWS, 3, 7)).astype(np.float32)),
        f"{prefix}region_mask": torch.from_numpy(mask),
    }


def texts() -> Arrays:
    return {
        "input_ids": torch.tensor([[2, 5, 6, 3], [2, 7, 3, 0], [2, 8, 9, 3], [2, 5, 3, 0]]),
        "text_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 0]]),
    }


def captions() -> Arrays:
    return {
        **texts(),
        **regions(1),
        **regions(2, "itm_"),
        "mlm_ids": torch.tensor([[2, 4, 6, 3], [2, 4, 3, 0], [2, 8, 4, 3], [2, 5, 3, 0]]),
        "mlm_targets": torch.tensor([[-100, 5, -100, -100], [-100, 7, -100, -100], [-100, -100, 9, -100], [-100] * 4]),
        "mlm_scale": torch.tensor(1 / 3),
        "itm_labels": torch.tensor([0, 0, 1, 1]),
        "itm_ids": torch.tensor([[2, 5, 6, 3], [2, 9, 3, 0], [2, 8, 9, 3], [2, 5, 3, 0]]),
        "itm_mask": texts()["text_mask"],
    }


def hidden() -> Arrays:
    own = regions(0)
    masked = torch.zeros(ROWS, 3, dtype=torch.bool)
    masked[0, 0] = masked[1, 1] = masked[2, 0] = masked[2, 2] = masked[3, 0] = True
    assert not (masked & ~own["region_mask"]).any()
    classes = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4], [0.0, 0.9, 0.1], [0.2, 0.2, 0.6]])
    # As in a step of two such batches: each sum counts for a mean over ten hidden regions.
    return {
        **texts(),
        **own,
        "region_masked": masked,
        "region_classes": classes,
        "region_scale": torch.tensor(2 / 10),
    }


def labelled(seed: int) -> Arrays:
    targets = torch.tensor([[1.0, 0, 0], [0, 1.0, 0.3], [0, 0, 1.0], [0.6, 0, 0]])
    return {**texts(), **regions(seed), "targets": targets}


def inputs(arrays: Arrays, prefix: str = "") -> tuple[Tensor, ...]:
    named = ("region_features", "region_positions", "region_mask")
    return arrays["input_ids"], arrays["text_mask"], *(arrays[f"{prefix}{name}"] for name in named)


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-6)


def test_words_matching_and_alignment_are_their_definitions(model: UniterModel) -> None:
    arrays = captions()
    losses = UniterLosses(model, ObjectivesRecipe(MlmRecipe(2.0), ItmRecipe(0.5), WpaRecipe(0.1)))
    found = losses({"captions": arrays})
    masked = {**arrays, "input_ids": arrays["mlm_ids"]}
    close(found["mlm"], masked_language_loss(model.mlm_logits(*inputs(masked)), arrays["mlm_targets"]))
    shown = {**arrays, "input_ids": arrays["itm_ids"], "text_mask": arrays["itm_mask"]}
    logits = model.itm_logits(*inputs(shown, "itm_"))
    close(found["itm"], F.cross_entropy(logits, arrays["itm_labels"]))
    output = model.encode(*inputs(shown, "itm_"))
    aligned = align_words_to_regions(output.text_feats, arrays["itm_mask"], output.region_feats, output.region_mask)
    close(found["wra"], (aligned.distance[2:].sum() - aligned.distance[:2].sum()) / 4)
    close(found["loss"].detach(), 2 * found["mlm"] + 0.5 * found["itm"] + 0.1 * found["wra"])
    assert found["itm_accuracy"] == (logits.argmax(1) == arrays["itm_labels"]).float().mean()
    words = model.mlm_logits(*inputs(masked)).argmax(-1)
    right = [words[0, 1] == 5, words[1, 1] == 7, words[2, 2] == 9]
    assert float(found["mlm_accuracy"]) == pytest.approx(sum(map(float, right)) / 3)
    assert found["loss"].requires_grad
    assert not any(value.requires_grad for name, value in found.items() if name != "loss")


def test_captions_without_matching_have_no_matching_loss(model: UniterModel) -> None:
    arrays = {name: array for name, array in captions().items() if not name.startswith("itm_")}
    found = UniterLosses(model, ObjectivesRecipe(MlmRecipe(), ItmRecipe(), WpaRecipe()))({"captions": arrays})
    assert found.keys() == {"loss", "mlm", "mlm_accuracy"}


def test_hidden_regions_are_guessed_from_what_is_left(model: UniterModel) -> None:
    arrays = hidden()
    recipe = MrmRecipe(2.0, features=3.0, classes=0.5, distribution=0.25)
    found = UniterLosses(model, ObjectivesRecipe(mrm=recipe))({"masked_regions": arrays})
    masked, classes = arrays["region_masked"], arrays["region_classes"]
    region_feats = model.encode(*inputs(arrays), region_masked=masked).region_feats[masked]
    share = 2 / 10
    wanted = arrays["region_features"][masked].float()
    close(found["mrfr"], ((model.regress_features(region_feats) - wanted) ** 2).sum() / WIDTH * share)
    log_scores = model.classify_regions(region_feats).log_softmax(-1)
    best = torch.tensor([1, 2, 2, 1, 2])  # never the background
    close(found["mrc"], -log_scores[torch.arange(5), best].sum() * share)
    divergence = torch.special.xlogy(classes, classes) - classes * log_scores
    close(found["mrc_kl"], divergence.sum() / CLASSES * share)
    total = 2 * (3 * found["mrfr"] + 0.5 * found["mrc"] + 0.25 * found["mrc_kl"])
    close(found["loss"].detach(), total)


def test_what_a_hidden_region_looked_like_makes_no_difference_to_the_guess(model: UniterModel) -> None:
    recipe = ObjectivesRecipe(mrm=MrmRecipe(features=0.0, classes=1.0, distribution=0.0))
    first = UniterLosses(model, recipe)({"masked_regions": hidden()})
    changed = hidden()
    changed["region_features"] = torch.where(
        changed["region_masked"][..., None], torch.tensor(9.0, dtype=torch.float16), changed["region_features"]
    )
    close(UniterLosses(model, recipe)({"masked_regions": changed})["mrc"], first["mrc"])
    shown = hidden()
    shown["region_features"][1, 0] = shown["region_features"][2, 1] = torch.tensor([9, -9, 0, 4, -2.0])
    assert abs(float(UniterLosses(model, recipe)({"masked_regions": shown})["mrc"] - first["mrc"])) > 1e-5


@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        (MrmRecipe(distribution=0.0), {"mrfr"}),
        (MrmRecipe(features=0.0), {"mrc_kl"}),
        (MrmRecipe(features=0.0, classes=1.0, distribution=0.0), {"mrc"}),
    ],
)
def test_only_what_is_wanted_of_hidden_regions_is_guessed(
    model: UniterModel, recipe: MrmRecipe, names: set[str]
) -> None:
    found = UniterLosses(model, ObjectivesRecipe(mrm=recipe))({"masked_regions": hidden()})
    assert found.keys() == {"loss", *names}


@pytest.mark.parametrize("loss", ["bce", "ce"])
def test_answers_and_judgements_are_labels(model: UniterModel, loss: str) -> None:
    batch = {"questions": labelled(1), "hypotheses": labelled(2)}
    objectives = ObjectivesRecipe(vqa=VqaRecipe(3.0, loss), entailment=EntailmentRecipe(0.5, loss))
    found = UniterLosses(model, objectives)(batch)
    logits = {
        "vqa": model.vqa_logits(*inputs(batch["questions"])),
        "entailment": model.entailment_logits(*inputs(batch["hypotheses"])),
    }
    targets = labelled(1)["targets"]
    for name, own in logits.items():
        if loss == "bce":
            expected = F.binary_cross_entropy_with_logits(own, targets, reduction="sum") / ROWS
        else:
            expected = -(targets / targets.sum(1, keepdim=True) * own.log_softmax(-1)).sum() / ROWS
        close(found[name], expected)
        scores = [float(targets[row, int(own[row].argmax())]) for row in range(ROWS)]
        assert float(found[f"{name}_accuracy"]) == pytest.approx(sum(scores) / ROWS)
    close(found["loss"].detach(), 3 * found["vqa"] + 0.5 * found["entailment"])


@pytest.mark.parametrize("variant", NLVR2_VARIANTS)
def test_statements_are_true_of_both_pictures_or_not(variant: str) -> None:
    model = build(variant)
    arrays = {
        **texts(),
        **regions(1, "left_"),
        **regions(2, "right_"),
        "labels": torch.tensor([1, 0, 0, 1]),
    }
    losses = UniterLosses(model, ObjectivesRecipe(reasoning=ReasoningRecipe(2.0, variant)))
    found = losses({"pair_statements": arrays})
    left, right = inputs(arrays, "left_")[2:], inputs(arrays, "right_")[2:]
    logits = model.nlvr2_logits(arrays["input_ids"], arrays["text_mask"], left, right)
    close(found["reasoning"], F.cross_entropy(logits, arrays["labels"]))
    close(found["loss"].detach(), 2 * found["reasoning"])
    assert found["reasoning_accuracy"] == (logits.argmax(1) == arrays["labels"]).float().mean()
    swapped = model.nlvr2_logits(arrays["input_ids"], arrays["text_mask"], right, left)
    assert (swapped - logits).abs().max() > 1e-3
    torch.testing.assert_close(losses.pair_logits(arrays), logits)


def test_a_phrase_chooses_among_the_regions_of_its_picture(model: UniterModel) -> None:
    arrays = {**texts(), **regions(2), "targets": torch.tensor([2, 0, 1, 0])}
    found = UniterLosses(model, ObjectivesRecipe(referring=ReferringRecipe(0.5)))({"phrases": arrays})
    region_feats = model.encode(*inputs(arrays)).region_feats
    scores = model.re_output(region_feats)[..., 0]
    total, hits = torch.zeros(()), 0
    for row, target in enumerate(arrays["targets"].tolist()):
        own = scores[row, : int(arrays["region_mask"][row].sum())]
        total = total - own.log_softmax(0)[target]
        hits += int(own.argmax()) == target
    close(found["referring"], total / ROWS)
    close(found["loss"].detach(), 0.5 * found["referring"])
    assert float(found["referring_accuracy"]) == hits / ROWS


def test_all_together_train_every_head(model: UniterModel) -> None:
    objectives = ObjectivesRecipe(
        mlm=MlmRecipe(),
        itm=ItmRecipe(),
        wpa=WpaRecipe(),
        vqa=VqaRecipe(),
        mrm=MrmRecipe(classes=1.0),
        entailment=EntailmentRecipe(),
        reasoning=ReasoningRecipe(),
        referring=ReferringRecipe(),
    )
    pair = {**texts(), **regions(1, "left_"), **regions(2, "right_"), "labels": torch.tensor([1, 0, 0, 1])}
    losses = UniterLosses(model, objectives)
    found = losses(
        {
            "captions": captions(),
            "masked_regions": hidden(),
            "questions": labelled(1),
            "hypotheses": labelled(2),
            "pair_statements": pair,
            "phrases": {**texts(), **regions(2), "targets": torch.tensor([2, 0, 1, 0])},
        }
    )
    weights = {"wra": 0.1}
    named = ("mlm", "itm", "wra", "mrfr", "mrc", "mrc_kl", "vqa", "entailment", "reasoning", "referring")
    total = torch.stack([weights.get(name, 1.0) * found[name] for name in named]).sum()
    close(found["loss"].detach(), total)
    found["loss"].backward()
    without = {name for name, value in losses.trainable().items() if value.grad is None}
    assert without == set()
    assert losses.own_state() == {}
