"""Text -> token ids, by the checkpoint's own tokenizer.json.

Lower-casing, accents, and what becomes of control characters are the tokenizer's business; the [CLS] and [SEP]
around the words and the truncation are set here, as ViLT's and UNITER's scripts do it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tokenizers import Encoding, Tokenizer
from vlp_spec.errors import ArtifactError, InvalidArgumentError, TooLargeError

from vlp_pipeline.settings import read_settings

_CLS, _SEP, _PAD = "[CLS]", "[SEP]", "[PAD]"
_NEEDED = (_CLS, _SEP, _PAD, "[UNK]")


@dataclass(frozen=True, slots=True)
class TextLimits:
    """What a text may cost.

    Attributes:
        max_chars: length in characters. A longer text is refused; one of more tokens than the model reads is cut.
    """

    max_chars: int = 4096

    def __post_init__(self) -> None:
        if self.max_chars < 1:
            raise ValueError(f"max_chars: got {self.max_chars}, expected 1 or more")


DEFAULT_TEXT_LIMITS = TextLimits()


@dataclass(frozen=True, slots=True)
class BertTextSettings:
    """`Deployment.text` of a model with BERT's text input.

    Attributes:
        max_length: tokens, [CLS] and [SEP] included; 3 or more.
        type: "bert".
    """

    max_length: int
    type: str = "bert"

    def __post_init__(self) -> None:
        if self.type != "bert":
            raise ValueError(f"type {self.type!r}, expected 'bert'")
        if self.max_length < 3:
            raise ValueError(f"max_length {self.max_length}: [CLS], one token and [SEP] need 3")

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> BertTextSettings:
        """Read `Deployment.text`.

        Raises:
            ArtifactError: an unknown or missing key, or a value that does not fit.
        """
        return read_settings(cls, raw, "deployment.text")


def check_text(text: str, field: str, limits: TextLimits = DEFAULT_TEXT_LIMITS) -> None:
    """Refuse what no model should be asked.

    Args:
        text: as the caller sent it.
        field: its name in the request, for the message.
        limits: what it may cost.

    Raises:
        TooLargeError: longer than `limits.max_chars`.
        InvalidArgumentError: it holds half of a surrogate pair, which is no character.
    """
    if len(text) > limits.max_chars:
        raise TooLargeError(f"{field}: {len(text)} characters, at most {limits.max_chars} are accepted; shorten it")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(
            f"{field}: character {error.start} is half of a surrogate pair; send valid Unicode", field=field
        ) from error


class TokenCounter(Protocol):
    """Counts the tokens of texts, as one model reads and writes them."""

    def tokens_read(self, text: str) -> int:
        """How many tokens of a text a graph is given: special ones counted, what is cut off not."""
        ...

    def token_ends(self, text: str) -> list[int]:
        """Where each token of a text ends, in characters; without special ones."""
        ...


class TextProcessor:
    """Turns text into ids. Without state after construction, so any thread may use it.

    Args:
        tokenizer: owned from now on; its own truncation and padding are switched off.
        max_length: tokens, [CLS] and [SEP] included.

    Raises:
        ArtifactError: the tokenizer has no [CLS], [SEP], [PAD] or [UNK].
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int) -> None:
        vocabulary = tokenizer.get_vocab()
        if missing := [token for token in _NEEDED if token not in vocabulary]:
            raise ArtifactError(
                f"tokenizer: its vocabulary of {len(vocabulary)} lacks {', '.join(missing)}; "
                "give the tokenizer.json that the checkpoint was trained with"
            )
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.max_length = BertTextSettings(max_length).max_length
        self.cls_id, self.sep_id, self.pad_id = vocabulary[_CLS], vocabulary[_SEP], vocabulary[_PAD]

    @classmethod
    def from_file(cls, source: Path | str | bytes, max_length: int) -> TextProcessor:
        """Read a tokenizer.json.

        Args:
            source: its path, or its content as bytes.
            max_length: tokens, [CLS] and [SEP] included.

        Raises:
            ArtifactError: the file cannot be read, is no tokenizer, or lacks a special token.
        """
        name = "tokenizer" if isinstance(source, bytes) else f"tokenizer {source}"
        try:
            content = source if isinstance(source, bytes) else Path(source).read_bytes()
        except OSError as error:
            raise ArtifactError(f"{name}: cannot be read ({error.strerror})") from error
        try:
            tokenizer = Tokenizer.from_str(content.decode())
        # The tokenizers library raises plain Exception for JSON that it does not know.
        except Exception as error:
            raise ArtifactError(f"{name}: not a tokenizer.json ({error!s:.200})") from error
        return cls(tokenizer, max_length)

    @property
    def vocab_size(self) -> int:
        """How many ids there are, special tokens included."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> np.ndarray:
        """Tokenize.

        Args:
            text: any string; one without a single word gives [CLS] [SEP] alone.

        Returns:
            (tokens,) int32: [CLS], the first `max_length` - 2 tokens, [SEP].

        Raises:
            InvalidArgumentError: the text is no valid Unicode, or the tokenizer cannot read it.
        """
        words = self.word_ids(text)
        return np.array([self.cls_id, *words[: self.max_length - 2], self.sep_id], dtype=np.int32)

    def word_ids(self, text: str) -> list[int]:
        """The ids of a text alone, as many as there are.

        Raises:
            InvalidArgumentError: the text is no valid Unicode, or the tokenizer cannot read it.
        """
        return list(self._encoding(text).ids)

    def _encoding(self, text: str) -> Encoding:
        try:
            return self._tokenizer.encode(text, add_special_tokens=False)
        # Half a surrogate pair is a UnicodeEncodeError or TypeError, a broken vocabulary a plain Exception.
        except Exception as error:
            raise InvalidArgumentError(
                "text: the model's tokenizer cannot read it; send valid Unicode", detail=repr(error)
            ) from error

    def tokens_read(self, text: str) -> int:
        """How many tokens of a text a graph is given: as `encode`, and errors likewise."""
        return len(self.encode(text))

    def token_ends(self, text: str) -> list[int]:
        """Where each token of a text alone ends, in characters; errors as `word_ids`."""
        return [end for _, end in self._encoding(text).offsets]

    def id_of(self, token: str) -> int:
        """The id of a token that the model needs, by its name.

        Raises:
            ArtifactError: the tokenizer lacks it.
        """
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise ArtifactError(
                f"tokenizer: its vocabulary of {self.vocab_size} lacks {token}; give the tokenizer.json that the "
                "checkpoint was trained with"
            )
        return int(found)

    def tokens_of(self, ids: Iterable[int]) -> list[str]:
        """The tokens of ids; an id that is none of the tokenizer's is left out."""
        tokens = (self._tokenizer.id_to_token(int(index)) for index in ids)
        return [token for token in tokens if token is not None]
