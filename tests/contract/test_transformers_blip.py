"""BLIP as transformers computes it, and as the published code does where transformers is known to deviate from it.

It deviates in two things: its cross-attention ignores the mask of what it looks at, and its processor leaves [CLS]
before texts that look at a picture, where the published code puts [ENC]. tests/support/published_blip.py is the
published code's arithmetic; tests/unit/vlp_models/checkpoints/test_official_blip.py holds our model to it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import BlipImageProcessorPil, PreTrainedModel
from vlp_models.checkpoints import load_checkpoint, save_checkpoint
from vlp_models.families.blip import BlipModel
from vlp_models.families.blip_text import MedDecoder
from vlp_models.layers.med_block import CrossContext, KeysValues
from vlp_pipeline.clip_image import ClipImageProcessor, ClipImageSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))  # tests are imported one by one, not as packages
from transformers_blips import (
    CLASSES,
    CLS,
    END,
    FUSE,
    IMAGE_SIZE,
    PAD,
    START,
    WORDS,
    publish,
    publish_apart,
    transformers_blip,
)

ATOL = 1e-4
PHOTOGRAPHS = sorted((Path(__file__).parents[1] / "golden" / "photographs").glob("*.jpg"))
pytestmark = pytest.mark.usefixtures("quiet_transformers")


def loaded(model: PreTrainedModel, folder: Path) -> BlipModel:
    """The same weights through save_pretrained and our reader."""
    return load_checkpoint(publish(model, folder)).blip


def pixels(count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, IMAGE_SIZE, IMAGE_SIZE, generator=torch.Generator().manual_seed(seed))


def texts(first: int, lengths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Random texts of these lengths, filled up with [PAD], and their mask."""
    ids = torch.randint(5, len(WORDS), (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(2))
    ids[:, 0] = first
    for row, length in enumerate(lengths):
        ids[row, length - 1], ids[row, length:] = END, PAD
    return ids, (ids != PAD).long()


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.flatten(0, -2).std(0).max() > 0.05, "outputs so flat that mistakes would hide"
    torch.testing.assert_close(ours, theirs, atol=ATOL, rtol=0)


def of_one_text(states: list[KeysValues]) -> list[KeysValues]:
    """What a decoder looks at: the states of the one question of each picture."""
    return [KeysValues(item.keys[:, 0], item.values[:, 0]) for item in states]


@torch.no_grad()
def test_caption_logits(tmp_path: Path) -> None:
    theirs = transformers_blip("caption")
    ours = loaded(theirs, tmp_path)
    ids, mask = texts(START, (7, 4, 6))
    expected = theirs(pixel_values=pixels(3), input_ids=ids, attention_mask=mask).logits
    given = mask.bool()
    assert_same(ours(pixels(3), ids)[given], expected[given])


@torch.no_grad()
@pytest.mark.parametrize("parts", [("weight",), ("bias",), ("weight", "bias")])
def test_word_heads_that_were_trained_apart(parts: tuple[str, ...], tmp_path: Path) -> None:
    """Read from what transformers before version 5 leaves, and written so that transformers makes the same of ours."""
    tied = transformers_blip("caption")
    checkpoint = load_checkpoint(publish_apart(tied, tmp_path / "theirs", parts=parts))
    ours = checkpoint.blip
    assert ours.config.tied_words == ("weight" not in parts)
    save_checkpoint(tmp_path / "ours", ours, tokenizer=checkpoint.tokenizer, image=checkpoint.image)
    ids, _ = texts(START, (7, 7, 7))
    logits = ours(pixels(3), ids)
    for folder in ("theirs", "ours"):
        theirs, report = CLASSES["caption"].from_pretrained(tmp_path / folder, output_loading_info=True)
        assert not report["missing_keys"]
        assert not report["unexpected_keys"]
        assert_same(logits, theirs(pixel_values=pixels(3), input_ids=ids).logits)
    difference = logits - tied(pixel_values=pixels(3), input_ids=ids).logits
    assert difference.abs().max() > 0.1, "the tied head says the same"


@torch.no_grad()
def test_an_answer_of_a_word_head_that_was_trained_apart(tmp_path: Path) -> None:
    publish_apart(transformers_blip("vqa"), tmp_path)
    question, mask = texts(FUSE, (6,))
    answer, _ = texts(START, (5,))
    theirs = CLASSES["vqa"].from_pretrained(tmp_path)
    ours = load_checkpoint(tmp_path).blip
    assert_same(our_answer(ours, question, mask, answer), their_answer(theirs, question, mask, answer))


@torch.no_grad()
def test_greedy_captions_token_by_token(tmp_path: Path) -> None:
    theirs = transformers_blip("caption")
    ours = loaded(theirs, tmp_path)
    # Theirs drops the last token of what it is given, which its processor ends with [SEP].
    prompt, _ = texts(START, (4,))
    captions = set()
    for seed in range(5):
        expected = theirs.generate(pixels(1, seed), input_ids=prompt.clone(), max_new_tokens=20, do_sample=False)
        looked = ours.text_decoder.bert.cross_states(ours.encode_image(pixels(1, seed)))
        caption = greedy(ours.text_decoder, prompt[0, :-1].tolist(), looked)
        assert caption == expected[0].tolist()
        captions.add((tuple(caption), caption[-1] == END))
    assert len(captions) == 5
    assert {ended for _, ended in captions} == {True, False}, "some by [SEP], some by their length"


@torch.no_grad()
def test_greedy_answers_token_by_token(tmp_path: Path) -> None:
    """To one question at a time, which has no padding."""
    theirs = transformers_blip("vqa")
    ours = loaded(theirs, tmp_path)
    question, mask = texts(FUSE, (6,))
    for seed in range(3):
        expected = theirs.generate(question, pixels(1, seed), attention_mask=mask, max_new_tokens=20, do_sample=False)
        cross = ours.text_encoder.cross_states(ours.encode_image(pixels(1, seed)))
        looked, _ = ours.question_states(question[:, None], mask[:, None], cross)
        assert greedy(ours.text_decoder, [START], of_one_text(looked)) == expected[0].tolist()


def greedy(decoder: MedDecoder, written: list[int], looked: list[KeysValues], limit: int = 20) -> list[int]:
    """Write on with states kept from step to step."""
    context, end = [CrossContext(states) for states in looked], len(written) + limit
    step, past, lengths = torch.tensor([[written]]), None, None
    while len(written) < end and written[-1] != END:
        hidden, new = decoder.bert.decode(step, context, past, lengths)
        past = new if past is None else [behind(*pair) for pair in zip(past, new, strict=True)]
        lengths = torch.tensor([len(written)])
        written = [*written, int(decoder.logits(hidden)[0, 0, -1].argmax())]
        step = torch.tensor([[written[-1:]]])
    return written


def behind(past: KeysValues, new: KeysValues) -> KeysValues:
    return KeysValues(torch.cat([past.keys, new.keys], dim=3), torch.cat([past.values, new.values], dim=3))


@torch.no_grad()
@pytest.mark.parametrize("first", [CLS, FUSE])
def test_matching_of_several_texts(first: int, tmp_path: Path) -> None:
    """[CLS] is what transformers' processor leaves; [ENC], fed by hand, is what the published code puts there."""
    theirs = transformers_blip("match")
    ours = loaded(theirs, tmp_path)
    ids, mask = texts(first, (8, 3, 5))
    cross = ours.text_encoder.cross_states(ours.encode_image(pixels(1)))
    fused = ours.fuse(ids[None], mask[None], cross)[0]
    expected = theirs(
        pixel_values=pixels(1).expand(3, -1, -1, -1), input_ids=ids, attention_mask=mask, use_itm_head=True
    )
    given = mask.bool()
    assert_same(fused[given], expected.question_embeds[given])
    assert_same(ours.itm_logits(ids[None], mask[None], cross)[0], expected.itm_score)


@torch.no_grad()
def test_the_first_token_decides_a_match(tmp_path: Path) -> None:
    """So [ENC] is not to be left out, as transformers' processor does."""
    ours = loaded(transformers_blip("match"), tmp_path)
    cross = ours.text_encoder.cross_states(ours.encode_image(pixels(1)))
    (with_enc, mask), (with_cls, _) = texts(FUSE, (8, 3, 5)), texts(CLS, (8, 3, 5))
    difference = ours.itm_logits(with_enc[None], mask[None], cross) - ours.itm_logits(with_cls[None], mask[None], cross)
    assert difference.abs().max() > 0.1


@torch.no_grad()
def test_embeddings(tmp_path: Path) -> None:
    theirs = transformers_blip("match")
    ours = loaded(theirs, tmp_path)
    ids, mask = texts(CLS, (8, 3, 5))
    expected = theirs(pixel_values=pixels(3), input_ids=ids, attention_mask=mask, use_itm_head=False).itm_score
    images, written = ours.image_embeds(ours.encode_image(pixels(3))), ours.text_embeds(ids, mask)
    assert_same(F.normalize(images, dim=-1) @ F.normalize(written, dim=-1).T, expected)


@torch.no_grad()
def test_an_answer_to_a_question_by_itself(tmp_path: Path) -> None:
    theirs = transformers_blip("vqa")
    ours = loaded(theirs, tmp_path)
    question, mask = texts(FUSE, (6,))
    answer, _ = texts(START, (5,))
    assert_same(our_answer(ours, question, mask, answer), their_answer(theirs, question, mask, answer))


@torch.no_grad()
def test_a_padded_question_is_answered_as_by_itself_unlike_transformers(tmp_path: Path) -> None:
    """Ours honours the mask of the question, as the published rank_answer does; transformers looks at padding too."""
    theirs = transformers_blip("vqa")
    ours = loaded(theirs, tmp_path)
    questions, mask = texts(FUSE, (9, 5))
    answers, _ = texts(START, (4, 4))
    together, alone = our_answer(ours, questions, mask, answers), our_answer(ours, *short(questions, mask), answers[1:])
    torch.testing.assert_close(together[1:], alone, atol=ATOL, rtol=0)
    torch.testing.assert_close(alone, their_answer(theirs, *short(questions, mask), answers[1:]), atol=ATOL, rtol=0)
    difference = (their_answer(theirs, questions, mask, answers)[1:] - alone).abs().max()
    assert difference > 0.05, "transformers honours encoder_attention_mask now: compare batches with it"


def short(questions: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The second question without its padding."""
    length = int(mask[1].sum())
    return questions[1:, :length], mask[1:, :length]


def our_answer(ours: BlipModel, questions: Tensor, mask: Tensor, answers: Tensor) -> Tensor:
    cross = ours.text_encoder.cross_states(ours.encode_image(_last_of_two(len(questions))))
    seen, seen_mask = ours.question_states(questions[:, None], mask[:, None], cross)
    return ours.decode(answers[:, None], of_one_text(seen), seen_mask[:, 0])[:, 0]


def their_answer(theirs: Any, questions: Tensor, mask: Tensor, answers: Tensor) -> Tensor:
    """What BlipForQuestionAnswering's forward computes, which does not give its logits back."""
    states = theirs.vision_model(pixel_values=_last_of_two(len(questions))).last_hidden_state
    fused = theirs.text_encoder(input_ids=questions, attention_mask=mask, encoder_hidden_states=states)
    logits: Tensor = theirs.text_decoder(
        input_ids=answers,
        encoder_hidden_states=fused.last_hidden_state,
        encoder_attention_mask=mask,
    ).logits
    return logits


def _last_of_two(count: int) -> Tensor:
    return pixels(2)[2 - count :]


@torch.no_grad()
def test_widths_of_pictures_and_texts_may_differ(tmp_path: Path) -> None:
    theirs = transformers_blip("caption", hidden_size=24, num_attention_heads=3, layer_norm_eps=1e-3)
    ours = loaded(theirs, tmp_path)
    ids, mask = texts(START, (5, 5))
    assert_same(ours(pixels(2), ids), theirs(pixel_values=pixels(2), input_ids=ids, attention_mask=mask).logits)


@torch.no_grad()
@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.stem)
def test_pixels_of_photographs(path: Path, tmp_path: Path) -> None:
    """By the processor's own file: resized on both sides, whatever the shape, and normalised in the model."""
    image = Image.open(path).convert("RGB")
    side = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    processor = BlipImageProcessorPil(size=side, image_mean=[0.3, 0.4, 0.5], image_std=[0.2, 0.25, 0.3])
    theirs = transformers_blip("match")
    processor.save_pretrained(publish(theirs, tmp_path))
    checkpoint = load_checkpoint(tmp_path)
    own = ClipImageProcessor(ClipImageSettings.from_mapping(checkpoint.image)).pixels(image)
    expected = theirs.vision_model(**processor(image, return_tensors="pt")).last_hidden_state
    torch.testing.assert_close(checkpoint.blip.encode_image(torch.from_numpy(own)[None]), expected, atol=1e-4, rtol=0)
