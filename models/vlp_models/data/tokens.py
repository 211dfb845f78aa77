"""Tokenised texts, kept ragged and padded by the batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer


@dataclass(frozen=True)
class TokenStore:
    """Token ids of many texts.

    Attributes:
        ids: every text's ids one after another, int32.
        offsets: (texts + 1,) int64; text i is ids[offsets[i]:offsets[i + 1]].
        pad_id: fills a batch.
    """

    ids: np.ndarray
    offsets: np.ndarray
    pad_id: int

    @classmethod
    def encode(cls, texts: Iterable[str], encode: Callable[[str], np.ndarray], pad_id: int) -> TokenStore:
        """Tokenise, each distinct text once."""
        known: dict[str, np.ndarray] = {}
        rows = []
        for text in texts:
            if text not in known:
                known[text] = np.asarray(encode(text), dtype=np.int32)
            rows.append(known[text])
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        return cls(np.concatenate(rows) if rows else np.zeros(0, np.int32), offsets, pad_id)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """(texts,) int64, tokens of each."""
        return np.diff(self.offsets)

    def gather(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """input_ids (B, T) int32 padded with pad_id, and text_mask (B, T) int32, T the longest of the batch."""
        starts, lengths = self.offsets[indices], self.lengths[indices]
        columns = np.arange(int(lengths.max()))
        mask = columns[None, :] < lengths[:, None]
        positions = np.where(mask, starts[:, None] + columns[None, :], 0)
        return np.where(mask, self.ids[positions], self.pad_id).astype(np.int32), mask.astype(np.int32)


@dataclass(frozen=True)
class SpecialTokens:
    """Ids that masking has to know.

    Attributes:
        pad, cls, sep, mask: ids.
        is_continuation: (vocabulary,) bool, True for pieces that continue a word ("##ing").
    """

    pad: int
    cls: int
    sep: int
    mask: int
    is_continuation: np.ndarray

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> SpecialTokens:
        """Read them from a BERT tokenizer; a token that it lacks has id -1."""

        def identify(token: str) -> int:
            number = tokenizer.token_to_id(token)
            return -1 if number is None else int(number)

        continuation = np.zeros(tokenizer.get_vocab_size(), dtype=bool)
        for token, number in tokenizer.get_vocab().items():
            continuation[number] = token.startswith("##")
        return cls(identify("[PAD]"), identify("[CLS]"), identify("[SEP]"), identify("[MASK]"), continuation)
