"""Find the tokenizer of a checkpoint, and turn a bare vocabulary into one."""

from __future__ import annotations

from pathlib import Path

from tokenizers.implementations.bert_wordpiece import BertWordPieceTokenizer
from vlp_pipeline.text import TextProcessor
from vlp_spec.errors import ArtifactError

from vlp_models.checkpoints.json_file import read_json_object

_SPECIAL = ("[CLS]", "[SEP]", "[PAD]", "[UNK]")


def find_tokenizer(directory: Path) -> Path | None:
    """The tokenizer file of a directory: tokenizer.json, else vocab.txt, else None."""
    for name in ("tokenizer.json", "vocab.txt"):
        if (directory / name).is_file():
            return directory / name
    return None


def read_tokenizer(path: Path, vocab_size: int) -> str:
    """Read a tokenizer, and check that it belongs to the model.

    Args:
        path: tokenizer.json, vocab.txt (one word piece a line; a tokenizer_config.json beside it says whether to
            lower-case), or a directory with either.
        vocab_size: rows of the model's word table.

    Returns:
        the content of a tokenizer.json.

    Raises:
        ArtifactError: there is none, it cannot be read, lacks a special token, or has more words than the model.
    """
    file = find_tokenizer(path) if path.is_dir() else path
    if file is None:
        raise ArtifactError(f"{path}: no tokenizer: expected tokenizer.json or vocab.txt in it")
    content = _from_vocabulary(file) if file.suffix == ".txt" else _read_text(file)
    try:
        processor = TextProcessor.from_file(content.encode(), max_length=3)
    except ArtifactError as error:
        raise ArtifactError(f"{file}: {error.message}") from error
    if processor.vocab_size > vocab_size:
        raise ArtifactError(
            f"{file}: the tokenizer has {processor.vocab_size} words, but the model knows {vocab_size}; "
            "give the tokenizer that the checkpoint was trained with"
        )
    return content


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}: not UTF-8") from error


def _from_vocabulary(path: Path) -> str:
    # Not splitlines: the characters that Unicode calls line breaks can be words.
    words = [line.removesuffix("\r") for line in _read_text(path).removesuffix("\n").split("\n")]
    if missing := [token for token in _SPECIAL if token not in words]:
        raise ArtifactError(f"{path}: {len(words)} words, but it lacks {', '.join(missing)}; expected BERT's vocab.txt")
    settings_path = path.with_name("tokenizer_config.json")
    settings = read_json_object(settings_path) if settings_path.is_file() else {}
    tokenizer = BertWordPieceTokenizer(
        vocab={word: number for number, word in enumerate(words)},
        lowercase=bool(settings.get("do_lower_case", True)),
        strip_accents=settings.get("strip_accents"),
        handle_chinese_chars=bool(settings.get("tokenize_chinese_chars", True)),
    )
    return str(tokenizer.to_str())
