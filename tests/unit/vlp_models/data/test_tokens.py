from __future__ import annotations

import numpy as np
from vlp_models.data.tokenizer_building import build_tokenizer
from vlp_models.data.tokens import SpecialTokens, TokenStore
from vlp_pipeline.text import TextProcessor

TEXTS = ["which colour is the apple?", "is the Apple red?", "two apples"]


def test_a_built_tokenizer_is_berts() -> None:
    tokenizer = build_tokenizer(TEXTS, vocab_size=300)
    assert tokenizer.token_to_id("[PAD]") == 0
    assert tokenizer.encode("the APPLE").tokens == ["[CLS]", "the", "apple", "[SEP]"]
    assert tokenizer.decode(tokenizer.encode("the apple?").ids) == "the apple?"


def test_words_that_training_never_saw_fall_into_pieces() -> None:
    tokens = build_tokenizer(TEXTS, vocab_size=300).encode("xylophone 7").tokens
    assert "[UNK]" not in tokens
    assert tokens[1] == "x"


def test_a_small_world_keeps_its_words_whole_in_an_order_of_their_own() -> None:
    first, second = build_tokenizer(TEXTS, vocab_size=300), build_tokenizer(TEXTS[::-1], vocab_size=300)
    assert first.to_str() == second.to_str()
    for text in TEXTS:
        assert not any(token.startswith("##") for token in first.encode(text).tokens)


def test_a_large_world_is_cut_into_pieces() -> None:
    words = [f"{left}{right}" for left in ("un", "re", "over") for right in ("do", "make", "write", "turn", "take")]
    tokenizer = build_tokenizer(words * 3, vocab_size=115)
    assert tokenizer.get_vocab_size() <= 115
    assert "[UNK]" not in tokenizer.encode(" ".join(words)).tokens


def test_the_serving_text_processor_reads_it() -> None:
    tokenizer = build_tokenizer(TEXTS, vocab_size=300)
    ids = TextProcessor.from_file(tokenizer.to_str().encode(), 8).encode("is the apple red?")
    assert ids.tolist() == tokenizer.encode("is the apple red?").ids


def test_texts_are_padded_by_the_batch() -> None:
    rows = {"a": [2, 5, 3], "b": [2, 6, 7, 8, 3], "c": [2, 3]}
    store = TokenStore.encode(["a", "b", "a", "c"], lambda text: np.array(rows[text]), pad_id=9)
    ids, mask = store.gather(np.array([3, 2]))
    assert store.lengths.tolist() == [3, 5, 3, 2]
    assert ids.tolist() == [[2, 3, 9], [2, 5, 3]]
    assert mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert ids.dtype == mask.dtype == np.int32


def test_an_empty_store_is_allowed() -> None:
    assert len(TokenStore.encode([], lambda text: np.zeros(2), pad_id=0)) == 0


def test_special_tokens_know_which_pieces_continue_a_word() -> None:
    tokenizer = build_tokenizer(TEXTS, vocab_size=300)
    special = SpecialTokens.of(tokenizer)
    assert special.is_continuation[tokenizer.token_to_id("##a")]
    assert not special.is_continuation[tokenizer.token_to_id("the")]
    assert tokenizer.id_to_token(special.mask) == "[MASK]"
