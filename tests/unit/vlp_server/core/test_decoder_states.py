import numpy as np
import pytest
from number_decoder import NumberDecoder
from vlp_server.core.decoder_states import DecoderStates
from vlp_spec.errors import InternalError

DECODER = NumberDecoder()


def filled(rows=1, numbers=(), positions=8):
    states = DecoderStates(DECODER.shape, rows)
    for number in numbers:
        states.join(DECODER.looks_at(number), positions)
    return states


def seen(states):
    """The number of the picture in each slot."""
    feeds = states.step_feeds(slice(0, states.count), np.zeros((states.count, states.rows), np.int32))
    return feeds["at_key_0"][:, 0, 0, 0].tolist()


def test_slots_in_use_are_the_first_ones_whoever_leaves():
    states = filled(numbers=range(3, 8))
    assert states.leave(1) == 4
    assert states.leave(0) == 3
    assert seen(states) == [6, 7, 5]


def test_what_was_read_stays_when_slots_and_positions_grow_and_shrink():
    states = filled(rows=2, numbers=(5,), positions=4)
    new = {f"new_{kind}_{layer}": np.full((2, 2, 1, 3), 7 + layer) for kind in ("key", "value") for layer in range(2)}
    states.keep_step(0, new, [0, 1])
    for number in range(6, 26):
        states.join(DECODER.looks_at(number), 60)
    while states.count > 1:
        states.leave(states.count - 1)
    feeds = states.step_feeds(slice(0, 1), np.zeros((1, 2), np.int32))
    assert feeds["past_lengths"].tolist() == [1]
    assert feeds["past_key_1"].shape[0] == 1
    assert np.all(feeds["past_key_1"][0, :, :, 0] == 8)
    assert seen(states) == [5]
    assert states._slots <= 4


def test_pictures_are_not_copied_when_only_texts_grow_longer():
    states = filled(numbers=(5, 6), positions=4)
    before = states._arrays["at_key_0"]
    states.join(DECODER.looks_at(7), 4)
    assert states._arrays["at_key_0"] is not before  # more slots
    before = states._arrays["at_key_0"]
    states.join(DECODER.looks_at(8), 200)
    assert states._arrays["at_key_0"] is before
    assert seen(states) == [5, 6, 7, 8]


def test_rows_go_on_from_their_parents():
    states = filled(rows=3, numbers=(5,))
    for step in range(3):
        new = {
            f"new_{kind}_{layer}": np.arange(3).reshape(3, 1, 1, 1) * np.ones((3, 2, 1, 3)) + 10 * step
            for kind in ("key", "value")
            for layer in range(2)
        }
        states.keep_step(0, new, [2, 0, 0] if step == 1 else [0, 1, 2])
    past = states.step_feeds(slice(0, 1), np.zeros((1, 3), np.int32))["past_key_0"][0, :, 0, :3, 0]
    assert past.tolist() == [[2, 12, 20], [0, 10, 21], [0, 10, 22]]


def test_a_mask_that_the_decoder_does_not_have_or_lacks_is_a_fault():
    with pytest.raises(InternalError):
        filled().join(NumberDecoder(masked=True).looks_at(3), 4)
    masked = DecoderStates(NumberDecoder(masked=True).shape, 1)
    with pytest.raises(InternalError):
        masked.join(DECODER.looks_at(3), 4)
