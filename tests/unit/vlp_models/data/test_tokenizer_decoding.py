from __future__ import annotations

from tokenizers import Tokenizer
from vlp_models.data.tokenizer_building import build_tokenizer, with_tight_colons

TEXT = "three things: two red cats, one dog and a sealion."


def test_a_colon_stands_at_the_word_before_it() -> None:
    built = build_tokenizer([TEXT.replace("sealion", "sea lion")], vocab_size=150).to_str()
    before, after = Tokenizer.from_str(built), Tokenizer.from_str(with_tight_colons(built))
    ids = before.encode(TEXT).ids
    assert after.encode(TEXT).ids == ids
    assert before.decode(ids) == TEXT.replace(":", " :")
    assert after.decode(ids) == TEXT


def test_the_beginning_of_a_text_reads_as_the_text_begins() -> None:
    tokenizer = Tokenizer.from_str(with_tight_colons(build_tokenizer([TEXT], vocab_size=150).to_str()))
    ids = tokenizer.encode(TEXT, add_special_tokens=False).ids
    assert all(TEXT.startswith(tokenizer.decode(ids[:count])) for count in range(len(ids) + 1))
