"""Token for token what transformers generates, over small random decoders of many seeds.

Where the two differ, the reference itself must have stood within 1e-4 of choosing otherwise; how often that is, is
counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertLMHeadModel
from vlp_pipeline.generation import DecodingPlan, GeneratedText, begin_generation

VOCABULARY, PAD, START, END = 40, 0, 1, 2
PROMPT = (START, 5, 7)
MAX_TOKENS = 12
SEEDS = range(12)
FEW_SEEDS = range(6)
ENDINGS = {"none ends": -30.0, "some end": 1.5, "most end": 4.0, "all end early": 9.0}
CLOSE = 1e-4
MAX_CLOSE_SHARE = 0.03


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small only wait for a second thread, and long where other work has the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def decoder(seed: int, end_bias: float) -> Any:
    """Weights scaled up until the next token is far from uniform; the end as likely as the bias makes it."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=32,
        max_position_embeddings=64,
        is_decoder=True,
        initializer_range=0.4,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        bos_token_id=START,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    model: Any = BertLMHeadModel(config).eval()
    with torch.no_grad():
        model.cls.predictions.bias[END] += end_bias
    return model


@dataclass
class Reference:
    """What transformers says, and the least distance between two of its choices."""

    texts: list[tuple[int, ...]]
    scores: list[float] | None
    gap: float


def reference(model: Any, beams: int, options: dict[str, Any]) -> Reference:
    gaps: list[float] = []
    inner = model._get_top_k_continuations

    def spy(**given: Any) -> Any:
        values = torch.sort(given["accumulated_log_probs"].flatten(), descending=True)[0][: given["beams_to_keep"] + 1]
        gaps.append(float(-values.diff()[values[1:].isfinite()].max()))
        return inner(**given)

    model._get_top_k_continuations = spy
    extra = {} if beams == 1 else {"num_return_sequences": beams, "early_stopping": False}
    out = model.generate(
        torch.tensor([PROMPT]),
        num_beams=beams,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        **extra,
        **options,
    )
    words = [tuple(row) for row in out.sequences[:, len(PROMPT) :].tolist()]
    texts = [row[: row.index(END)] if END in row else row for row in words]
    if beams == 1:
        best = torch.cat(out.scores).topk(2)[0]
        return Reference(texts, None, float((best[:, 0] - best[:, 1]).min()))
    scores = out.sequences_scores.tolist()
    return Reference(texts, scores, min([*gaps, *(-np.diff(scores)).tolist()]))


def generate(model: Any, plan: DecodingPlan, prompt: Sequence[int]) -> tuple[GeneratedText, ...]:
    """Drive a generation by the whole text each time, so that no states are involved."""
    generation = begin_generation(plan, prompt)
    rows = [list(prompt)]
    with torch.no_grad():
        step = generation.start(model(torch.tensor(rows)).logits[0, -1].numpy())
        while not step.done:
            rows = [rows[parent] + [token] for parent, token in zip(step.parents, step.tokens.tolist(), strict=True)]
            step = generation.advance(model(torch.tensor(rows)).logits[:, -1].numpy())
    return generation.texts()


def own_log_probability(model: Any, text: GeneratedText) -> float:
    """Of a text under the model, in float64, from one forward over all of it."""
    tokens = [*text.tokens, *([END] if text.ended else [])]
    with torch.no_grad():
        logits = model(torch.tensor([[*PROMPT, *tokens]])).logits[0, len(PROMPT) - 1 : -1].double()
    return float(logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None]).sum())


def plan_of(beams: int, options: dict[str, Any]) -> DecodingPlan:
    return DecodingPlan(
        max_tokens=options["max_new_tokens"],
        min_tokens=options.get("min_new_tokens", 0),
        num_beams=beams,
        num_texts=beams,
        length_penalty=options.get("length_penalty", 1.0),
        temperature=0.0,
        top_p=1.0,
        seed=None,
        end_id=END,
        pad_id=PAD,
        repetition_penalty=options.get("repetition_penalty", 1.0),
    )


def compare(cases: list[tuple[Any, int, dict[str, Any]]]) -> list[GeneratedText]:
    """Count the cases in which the texts differ; they must be few, and close ones."""
    all_texts: list[GeneratedText] = []
    close = 0
    for model, beams, options in cases:
        expected = reference(model, beams, options)
        texts = generate(model, plan_of(beams, options), PROMPT)
        all_texts += texts
        if [text.tokens for text in texts] != expected.texts:
            assert expected.gap < CLOSE, (beams, options, texts, expected)
            close += 1
            continue
        assert [text.beam_score for text in texts] == (
            [None] if expected.scores is None else pytest.approx(expected.scores, abs=1e-4)
        )
        for text in texts:
            assert text.log_probability == pytest.approx(own_log_probability(model, text), abs=1e-4)
    assert close <= MAX_CLOSE_SHARE * len(cases)
    return all_texts


@pytest.mark.parametrize("beams", [1, 2, 3, 5])
@pytest.mark.parametrize("ending", ENDINGS)
def test_texts_are_those_of_transformers(beams: int, ending: str) -> None:
    cases = []
    for seed in SEEDS:
        options: dict[str, Any] = {"max_new_tokens": MAX_TOKENS}
        if beams > 1:
            options["length_penalty"] = (0.5, 1.0, 2.0)[seed % 3]
        model_seed = seed + len(SEEDS) * list(ENDINGS).index(ending)
        cases.append((decoder(model_seed, ENDINGS[ending]), beams, options))
    texts = compare(cases)
    ended = [text.ended for text in texts]
    assert {"none ends": not any(ended), "all end early": np.mean(ended) > 0.8}.get(ending, any(ended))


@pytest.mark.parametrize("beams", [1, 2, 4])
def test_a_text_does_not_end_before_its_least_length(beams: int) -> None:
    cases = []
    for seed in FEW_SEEDS:
        least = (1, 4, MAX_TOKENS)[seed % 3]
        cases.append((decoder(seed, 6.0), beams, {"max_new_tokens": MAX_TOKENS, "min_new_tokens": least}))
    assert min(len(text.tokens) for text in compare(cases)) == 1


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("most", [1, 2, 25])
def test_a_text_may_be_short_or_long(beams: int, most: int) -> None:
    texts = compare([(decoder(seed, 0.5), beams, {"max_new_tokens": most}) for seed in FEW_SEEDS])
    assert max(text.counted for text in texts) == most


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("penalty", [1.3, 0.8])
def test_what_was_said_costs_or_gains_by_the_repetition_penalty(beams: int, penalty: float) -> None:
    options = {"max_new_tokens": MAX_TOKENS, "repetition_penalty": penalty, "min_new_tokens": 2}
    compare([(decoder(seed, 1.5), beams, options) for seed in FEW_SEEDS])


@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 4.0])
def test_any_length_penalty_is_the_reference_s(length_penalty: float) -> None:
    options = {"max_new_tokens": MAX_TOKENS, "length_penalty": length_penalty}
    compare([(decoder(seed, 2.5), 4, options) for seed in FEW_SEEDS])
