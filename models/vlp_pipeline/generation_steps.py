"""What a generation and the engine that runs its model say to each other: logits in, the next step out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from vlp_spec.errors import InternalError


@dataclass(frozen=True, slots=True, eq=False)
class NextStep:
    """What the model reads next. A generation's states are rows, and a row continues the states of one row before.

    Attributes:
        tokens: (rows,) int32, what each row reads; the pad token in a row whose text is finished.
        parents: (rows,) int32, the row whose states each row continues: `arange` where nothing moves. After `start`
            all are 0, since the prompt has one row.
        said: tokens that this step settles and that may be shown at once. Where one text grows token by token, its
            next token, unless it is the end; else nothing before `done`, and then the whole of the best text. Put
            together, the `said` of all steps are the tokens of the best text.
        done: nothing more is to be read; `tokens` and `parents` have no meaning then.
    """

    tokens: np.ndarray
    parents: np.ndarray
    said: tuple[int, ...]
    done: bool


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """A text in tokens.

    Attributes:
        tokens: without prompt, end and padding.
        log_probability: natural logarithm of what the model gives the text: the sum over its tokens, the end included
            where it was reached. It is the model's own, before temperature, top_p, penalties and `min_tokens`.
        counted: tokens that the sum is over, 1 or more.
        ended: by the end token; else there were no more tokens allowed.
        beam_score: what beams are compared by, log-probability / length ** length_penalty; None without beams.
    """

    tokens: tuple[int, ...]
    log_probability: float
    counted: int
    ended: bool
    beam_score: float | None = None

    @property
    def score(self) -> float:
        """The geometric mean of its tokens' probabilities, 0 to 1."""
        return math.exp(self.log_probability / self.counted)


class Generation(Protocol):
    """The texts of one request while they grow. It holds no states of the model, and one thread at a time uses it."""

    @property
    def rows(self) -> int:
        """How many rows it has, the same for its life: beams, or texts where tokens are drawn."""
        ...

    def start(self, logits: np.ndarray) -> NextStep:
        """Choose the first tokens; called once.

        Args:
            logits: (vocabulary,) float32, of the prompt's last position.

        Raises:
            InferenceError: NaN or +infinity, another shape, or no token is possible.
        """
        ...

    def advance(self, logits: np.ndarray) -> NextStep:
        """Choose the next tokens; called until a step is `done`.

        Args:
            logits: (rows, vocabulary) float32, after each row read its token. Rows of finished texts are ignored.

        Raises:
            InferenceError: as `start`.
            InternalError: it is done.
        """
        ...

    def texts(self) -> tuple[GeneratedText, ...]:
        """The texts, best first. Fewer than asked only where the model deems fewer possible.

        Raises:
            InternalError: it is not done.
        """
        ...


def step_after_the_last() -> InternalError:
    """The fault of a caller that goes on."""
    return InternalError(detail="a step of a generation that is done")


def texts_too_early() -> InternalError:
    """The fault of a caller that does not wait."""
    return InternalError(detail="texts of a generation that is not done")


class GrowingText:
    """A text that grows by a token at a time and never turns back.

    Args:
        end_id: the token that ends it.
        max_tokens: after so many it is finished anyhow.
    """

    def __init__(self, end_id: int, max_tokens: int) -> None:
        self.tokens: list[int] = []
        self.ended = False
        self._end_id = end_id
        self._max_tokens = max_tokens
        self._log_probability = 0.0

    @property
    def finished(self) -> bool:
        """Whether it takes no more tokens."""
        return self.ended or len(self.tokens) == self._max_tokens

    def add(self, token: int, log_probability: float) -> tuple[int, ...]:
        """Take one more token.

        Returns:
            What it adds to the words, which is nothing at the end.

        Raises:
            InternalError: the text is finished.
        """
        if self.finished:
            raise step_after_the_last()
        self._log_probability += log_probability
        if token == self._end_id:
            self.ended = True
            return ()
        self.tokens.append(token)
        return (token,)

    def text(self) -> GeneratedText:
        """As it is.

        Raises:
            InternalError: it is not finished.
        """
        if not self.finished:
            raise texts_too_early()
        counted = len(self.tokens) + self.ended
        return GeneratedText(tuple(self.tokens), self._log_probability, counted, self.ended)
