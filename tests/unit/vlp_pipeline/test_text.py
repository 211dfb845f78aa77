import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, processors
from vlp_pipeline.text import BertTextSettings, TextLimits, TextProcessor, check_text
from vlp_spec.errors import ArtifactError, InvalidArgumentError, TooLargeError

PAD, UNK, CLS, SEP, MASK, WHAT, COLOUR, IS, THE, CAT, S, QUESTION, RED, CAFE = range(14)


@pytest.fixture
def processor(tokenizer: Tokenizer) -> TextProcessor:
    return TextProcessor(tokenizer, max_length=10)


def test_words_between_cls_and_sep(processor: TextProcessor) -> None:
    ids = processor.encode("What COLOUR is the cats?")
    assert ids.dtype == np.int32
    assert ids.tolist() == [CLS, WHAT, COLOUR, IS, THE, CAT, S, QUESTION, SEP]
    assert (processor.pad_id, processor.cls_id, processor.sep_id, processor.vocab_size) == (PAD, CLS, SEP, 14)


def test_a_long_text_loses_its_end_and_keeps_sep(processor: TextProcessor) -> None:
    assert processor.encode("cat " * 8).tolist() == [CLS] + [CAT] * 8 + [SEP]
    assert processor.encode("cat " * 10_000).tolist() == [CLS] + [CAT] * 8 + [SEP]


def test_the_same_as_the_tokenizers_own_truncation_and_template(tokenizer: Tokenizer) -> None:
    own = Tokenizer.from_str(tokenizer.to_str())
    own.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    own.enable_truncation(7)
    own.enable_padding(pad_id=PAD, length=20)
    # Settings that the file brings along count no more than the ones given here.
    processor = TextProcessor(Tokenizer.from_str(own.to_str()), max_length=7)
    own.no_padding()
    for text in ("", "cat", "what colour is", "what colour is the cat", "what colour is the cats ? red red"):
        assert processor.encode(text).tolist() == own.encode(text).ids


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("   \n\t ", []),
        ("\x00\x01\ufffd\u200b", []),
        ("c\x00at", [CAT]),
        ("Café", [CAFE]),
        ("\N{CAT FACE}", [UNK]),
        ("\N{CAT FACE}\ufe0f the\u00a0cat", [UNK, THE, CAT]),
        ("x" * 5000, [UNK]),
        ("[MASK] cat", [MASK, CAT]),
    ],
)
def test_odd_characters_have_a_defined_result(text: str, words: list[int], processor: TextProcessor) -> None:
    assert processor.encode(text).tolist() == [CLS, *words, SEP]


def test_half_a_surrogate_pair(processor: TextProcessor) -> None:
    with pytest.raises(InvalidArgumentError, match="valid Unicode"):
        processor.encode("cat \ud83d")
    with pytest.raises(InvalidArgumentError, match="question: character 4 is half of a surrogate pair") as caught:
        check_text("cat \ud83d", "question")
    assert caught.value.field == "question"
    caught.value.message.encode()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=50))
def test_any_text(text: str) -> None:
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "##a": 5}
    processor = TextProcessor(Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]")), max_length=6)
    ids = processor.encode(text)
    assert 2 <= len(ids) <= 6
    assert (ids[0], ids[-1]) == (2, 3)


def test_length_limit() -> None:
    check_text("x" * 4096, "question")
    with pytest.raises(TooLargeError, match="question: 4097 characters, at most 4096"):
        check_text("x" * 4097, "question")
    with pytest.raises(TooLargeError, match="at most 3"):
        check_text("cats", "question", TextLimits(max_chars=3))
    with pytest.raises(ValueError, match="1 or more"):
        TextLimits(max_chars=0)


def test_many_threads(processor: TextProcessor) -> None:
    texts = ["cat " * count for count in range(8)]
    gate = threading.Barrier(4)

    def encode(_: int) -> list[list[int]]:
        gate.wait(timeout=30)
        return [processor.encode(text).tolist() for text in texts for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(encode, range(4)))
    assert results == [[processor.encode(text).tolist() for text in texts for _ in range(20)]] * 4


def test_from_path_and_bytes(tmp_path: Path, tokenizer: Tokenizer) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(tokenizer.to_str(), encoding="utf-8")
    for source in (path, str(path), path.read_bytes()):
        assert TextProcessor.from_file(source, 10).encode("red").tolist() == [CLS, RED, SEP]


@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2]", b'{"model": {"type": "Nonsense"}}', b"\xff\xfe"])
def test_not_a_tokenizer(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    for source in (path, content):
        with pytest.raises(ArtifactError, match=r"not a tokenizer\.json"):
            TextProcessor.from_file(source, 10)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="No such file"):
        TextProcessor.from_file(tmp_path / "tokenizer.json", 10)


@pytest.mark.parametrize("missing", ["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
def test_a_tokenizer_without_a_special_token(missing: str) -> None:
    words = [word for word in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "cat") if word != missing]
    bare = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="cat"))
    with pytest.raises(ArtifactError) as caught:
        TextProcessor(bare, 10)
    assert f"vocabulary of 4 lacks {missing};" in caught.value.message


def test_settings() -> None:
    assert BertTextSettings.from_mapping({"type": "bert", "max_length": 40}).max_length == 40


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"type": "bert"}, "missing key max_length"),
        ({"max_length": 40, "lower": True}, "unknown key lower"),
        ({"max_length": "40"}, "expected int"),
        ({"max_length": 2}, "need 3"),
        ({"max_length": 40, "type": "roberta"}, "expected 'bert'"),
    ],
)
def test_settings_that_do_not_fit(raw: dict[str, object], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        BertTextSettings.from_mapping(raw)


def test_words_alone_are_never_cut(processor: TextProcessor) -> None:
    assert processor.word_ids("what is the cats?") == [WHAT, IS, THE, CAT, S, QUESTION]
    assert processor.word_ids("cat " * 50) == [CAT] * 50
    assert processor.word_ids(" ") == []
    with pytest.raises(InvalidArgumentError, match="cannot read it"):
        processor.word_ids("cat \ud800")


def test_tokens_have_names_and_names_tokens(processor: TextProcessor) -> None:
    assert (processor.id_of("[MASK]"), processor.id_of("##s")) == (MASK, S)
    with pytest.raises(ArtifactError, match=r"its vocabulary of 14 lacks \[DEC\]"):
        processor.id_of("[DEC]")
    assert processor.tokens_of(np.array([CAT, S, 99, SEP])) == ["cat", "##s", "[SEP]"]
