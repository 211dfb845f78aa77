"""Text -> token ids for CLIP's and SigLIP's towers, by the checkpoint's own tokenizer.json.

Lower-casing and the tokens around a text are the tokenizer's business. Truncation keeps those tokens, as transformers'
tokenizers do. SigLIP was trained on texts filled up to its full length, without a mask, so its texts are too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from vlp_spec.errors import ArtifactError, InvalidArgumentError

from vlp_pipeline.settings import read_settings


@dataclass(frozen=True, slots=True)
class ClipTextSettings:
    """`Deployment.text` of a dual encoder.

    Attributes:
        max_length: tokens, special ones included.
        pad_id: what shorter texts are filled up with.
        fixed: whether each text is filled up to `max_length`, rather than to the longest of its batch.
        type: "clip".
    """

    max_length: int
    pad_id: int
    fixed: bool = False
    type: str = "clip"

    def __post_init__(self) -> None:
        if self.type != "clip":
            raise ValueError(f"type {self.type!r}, expected 'clip'")
        if self.max_length < 1 or self.pad_id < 0:
            raise ValueError(f"max_length {self.max_length}, pad_id {self.pad_id}: expected 1 or more, and 0 or more")

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any]) -> ClipTextSettings:
        """Read `Deployment.text`.

        Raises:
            ArtifactError: an unknown or missing key, or a value that does not fit.
        """
        return read_settings(cls, raw, "deployment.text")


class ClipTextProcessor:
    """Turns text into ids. Without state after construction, so any thread may use it.

    Args:
        tokenizer: owned from now on; its truncation and padding are replaced.
        settings: as in the manifest.

    Raises:
        ArtifactError: the padding is no token of the tokenizer, or its special tokens leave no room for a text.

    Attributes:
        special_tokens: how many tokens the tokenizer puts around a text.
    """

    def __init__(self, tokenizer: Tokenizer, settings: ClipTextSettings) -> None:
        if tokenizer.id_to_token(settings.pad_id) is None:
            raise ArtifactError(
                f"tokenizer: pad_id {settings.pad_id} is none of its {tokenizer.get_vocab_size()} tokens"
            )
        special = tokenizer.num_special_tokens_to_add(is_pair=False)
        if special >= settings.max_length:
            raise ArtifactError(f"tokenizer: {special} special tokens leave no room in {settings.max_length} positions")
        tokenizer.no_padding()
        tokenizer.enable_truncation(settings.max_length)
        self._tokenizer = tokenizer
        self.settings = settings
        self.special_tokens = special

    @classmethod
    def from_file(cls, source: Path | str | bytes, settings: ClipTextSettings) -> ClipTextProcessor:
        """Read a tokenizer.json.

        Args:
            source: its path, or its content as bytes.
            settings: as in the manifest.

        Raises:
            ArtifactError: the file cannot be read, is no tokenizer, or does not fit the settings.
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
        return cls(tokenizer, settings)

    @property
    def vocab_size(self) -> int:
        """One more than the highest id, special tokens included."""
        return 1 + max(self._tokenizer.get_vocab(with_added_tokens=True).values())

    def encode(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Tokenize.

        Args:
            text: any string.

        Returns:
            ids and mask, (tokens,) int32 each; with `fixed`, tokens = max_length and the mask is 0 over the padding.

        Raises:
            InvalidArgumentError: the text is no valid Unicode, or the tokenizer cannot read it.
        """
        try:
            ids = self._tokenizer.encode(text).ids
        # Half a surrogate pair is a UnicodeEncodeError or TypeError, a broken vocabulary a plain Exception.
        except Exception as error:
            raise InvalidArgumentError(
                "text: the model's tokenizer cannot read it; send valid Unicode", detail=repr(error)
            ) from error
        length = self.settings.max_length if self.settings.fixed else len(ids)
        row, mask = np.full(length, self.settings.pad_id, np.int32), np.zeros(length, np.int32)
        row[: len(ids)], mask[: len(ids)] = ids, 1
        return row, mask
