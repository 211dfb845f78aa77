from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from vlp_models.checkpoints.tokenizer_source import read_tokenizer
from vlp_pipeline.text import TextProcessor
from vlp_spec.errors import ArtifactError


def test_a_bare_vocabulary_becomes_a_tokenizer(vocabulary: Path) -> None:
    content = read_tokenizer(vocabulary, 12)
    ids = TextProcessor.from_file(content.encode(), max_length=8).encode("What colour is its?")
    # [CLS] what colour is it ##s [UNK] [SEP]
    assert ids.tolist() == [2, 5, 6, 7, 8, 9, 1, 3]


def test_its_case_is_kept_where_the_settings_say_so(vocabulary: Path) -> None:
    vocabulary.with_name("tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    tokenizer = Tokenizer.from_str(read_tokenizer(vocabulary, 12))
    assert tokenizer.encode("What", add_special_tokens=False).tokens == ["[UNK]"]


def test_a_directory_prefers_the_whole_tokenizer(tmp_path: Path, vocabulary: Path) -> None:
    content = read_tokenizer(tmp_path, 12)
    (tmp_path / "tokenizer.json").write_text(content)
    vocabulary.write_text("nonsense")
    assert read_tokenizer(tmp_path, 12) == content


def test_a_tokenizer_of_another_model_is_refused(vocabulary: Path) -> None:
    with pytest.raises(ArtifactError, match="has 10 words, but the model knows 9"):
        read_tokenizer(vocabulary, 9)


def test_a_vocabulary_without_special_tokens_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("what\nis\n")
    with pytest.raises(ArtifactError, match=r"vocab.txt: 2 words, but it lacks \[CLS\], \[SEP\], \[PAD\], \[UNK\]"):
        read_tokenizer(tmp_path, 100)


def test_a_directory_without_any_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no tokenizer: expected tokenizer.json or vocab.txt"):
        read_tokenizer(tmp_path, 10)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ArtifactError, match="not UTF-8"):
        read_tokenizer(tmp_path, 10)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"not a tokenizer.json"):
        read_tokenizer(tmp_path, 10)
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_tokenizer(tmp_path / "nowhere.json", 10)
