"""The tokenizer of a published UNITER file, which is BERT's cased one."""

from __future__ import annotations

import json
from pathlib import Path

from vlp_models.checkpoints.tokenizer_source import find_tokenizer, read_tokenizer


def read_uniter_tokenizer(path: Path, vocab_size: int) -> str:
    """`read_tokenizer`; a bare vocab.txt that nothing is said about keeps case and accents, as UNITER was trained.

    BERT's vocab.txt does not tell its case, and `read_tokenizer` takes it for lower-cased, which most of them are.

    Raises:
        ArtifactError: as `read_tokenizer`.
    """
    content = read_tokenizer(path, vocab_size)
    file = find_tokenizer(path) if path.is_dir() else path
    if file is None or file.suffix != ".txt" or file.with_name("tokenizer_config.json").is_file():
        return content
    values = json.loads(content)
    values["normalizer"] |= {"lowercase": False, "strip_accents": False}
    return json.dumps(values, ensure_ascii=False)
