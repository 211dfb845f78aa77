import numpy as np
import pytest
from number_decoder import POISON, START, NumberDecoder, plan
from vlp_pipeline.generation import rank_answers
from vlp_server.core.running_texts import AnswersToWeigh, RunningTexts, TextToWrite
from vlp_spec.errors import InferenceError


def asked(decoder, number, beginning=(START,), states=4, **wanted):
    return TextToWrite(decoder.looks_at(number, states), np.array(beginning, np.int32), plan(**wanted))


def alone(decoder, text):
    return decoder.write_alone(text.looked_at, text.beginning, text.plan)


def run_to_end(running, said, done=None):
    done = {} if done is None else done
    while True:
        done |= {one.text: one for one in said if one.has_left}
        if not running.rows:
            return done
        said = running.step()


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"num_beams": 3, "num_texts": 2},
        {"temperature": 1.0, "num_texts": 3, "seed": 5},
        {"num_beams": 4, "length_penalty": 2.0, "min_tokens": 3},
    ],
)
@pytest.mark.parametrize("beginning", [(START,), (START, 7, 9)])
def test_a_text_alone_is_what_the_decoder_writes_without_any_kept_state(wanted, beginning):
    decoder = NumberDecoder()
    for number in range(8):
        text = asked(decoder, number, beginning, **wanted)
        running = RunningTexts(decoder.shape, decoder.run)
        done = run_to_end(running, running.begin([text]))
        assert done[text].texts == alone(decoder, text)


def test_texts_that_join_and_leave_at_random_change_no_others_words():
    decoder, random = NumberDecoder(), np.random.default_rng(3)
    kinds = [{}, {"num_beams": 3}, {"temperature": 0.8, "num_texts": 2}, {"num_beams": 2, "num_texts": 2}]
    texts = [
        asked(
            decoder,
            int(random.integers(0, 20)),
            (START, *random.integers(3, 20, random.integers(0, 4)).tolist()),
            max_tokens=(longest := int(random.integers(1, 40))),
            min_tokens=int(random.integers(0, longest + 1)),
            **(kind := kinds[int(random.integers(0, 4))]),
            **({"seed": int(random.integers(0, 99))} if "temperature" in kind else {}),
        )
        for _ in range(60)
    ]
    running, waiting, done, gone = RunningTexts(decoder.shape, decoder.run), list(texts), {}, set()
    rounds = 0
    while waiting or running.rows:
        rounds += 1
        said = running.step()
        joining = [waiting.pop() for _ in range(min(len(waiting), int(random.integers(0, 4))))]
        if joining:
            said += running.begin(joining)
        done |= {one.text: one for one in said if one.has_left}
        if random.random() < 0.2:
            left = [text for text in texts if text not in waiting and text not in done][:1]
            running.leave(left)
            gone |= set(left)
    assert len(done) + len(gone) == 60
    assert len(gone) > 2
    assert rounds < 120  # side by side: one after another they would take more than 600
    for text, said in done.items():
        assert said.texts == alone(decoder, text)


def test_what_is_settled_adds_up_to_the_text():
    decoder = NumberDecoder()
    text = asked(decoder, 5, max_tokens=12)
    running = RunningTexts(decoder.shape, decoder.run)
    said = running.begin([text])
    tokens = list(said[0].tokens)
    while not said[0].has_left:
        said = running.step()
        tokens += said[0].tokens
    assert tuple(tokens) == said[0].texts[0].tokens
    assert running.rows == 0


def test_a_poisoned_text_fails_by_itself_and_its_neighbours_go_on():
    decoder = NumberDecoder()
    texts = [asked(decoder, number) for number in (3, POISON, 4)]
    running = RunningTexts(decoder.shape, decoder.run)
    done = run_to_end(running, running.begin(texts))
    assert isinstance(done[texts[1]].fault, InferenceError)
    for text in (texts[0], texts[2]):
        assert done[text].texts == alone(decoder, text)


def test_a_step_that_fails_for_all_fails_each():
    decoder = NumberDecoder()
    texts = [asked(decoder, number, max_tokens=30, min_tokens=30) for number in (3, 4)]
    running = RunningTexts(decoder.shape, decoder.run)
    running.begin(texts)
    decoder.fault = RuntimeError("out of memory")
    said = running.step()
    assert [type(one.fault) for one in said] == [InferenceError, InferenceError]
    assert running.rows == 0


def test_questions_of_different_lengths_share_steps():
    decoder = NumberDecoder(masked=True)
    texts = [asked(decoder, number, states=states) for number, states in ((3, 5), (4, 11), (5, 2), (6, 30))]
    running = RunningTexts(decoder.shape, decoder.run)
    said = running.begin(texts[:2])
    said += running.step()
    said += running.begin(texts[2:])
    done = run_to_end(running, said)
    for text in texts:
        assert done[text].texts == alone(decoder, text)


def test_answers_are_weighed_as_the_decoder_would_write_them():
    decoder = NumberDecoder(masked=True)
    looked_at = decoder.looks_at(4, 6)
    ids = np.array([[START, 5, 2, 0], [START, 7, 8, 2], [START, 2, 0, 0]], np.int32)
    lengths = np.array([3, 4, 2], np.int32)
    running = RunningTexts(decoder.shape, decoder.run)
    found = running.weigh(AnswersToWeigh(looked_at, ids, lengths))
    for row, (answer, length) in enumerate(zip(ids, lengths, strict=True)):
        logits = np.stack(
            [decoder._last_logits(looked_at, [answer[: end + 1].tolist()])[0] for end in range(length - 1)]
        )
        by_hand = rank_answers(logits[None], answer[None, 1:length], np.array([length - 1]))
        np.testing.assert_allclose(found[row], by_hand[0], rtol=1e-5)


def test_memory_goes_with_the_last_text():
    decoder = NumberDecoder()
    running = RunningTexts(decoder.shape, decoder.run)
    texts = [asked(decoder, number, max_tokens=30, min_tokens=30) for number in (3, 4)]
    running.begin(texts)
    assert running.rows == 2
    running.leave(texts)
    assert running.rows == 0
    assert not running._groups
