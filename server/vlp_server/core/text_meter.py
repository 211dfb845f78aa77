"""Tokens of texts, as a served model reads and writes them: for limits in tokens, and for the bill."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from vlp_pipeline.generative import CaptionPipeline
from vlp_pipeline.text import TokenCounter
from vlp_spec.tasks import CaptionQuery, Task

from vlp_server.core.loading import LoadedModel


@dataclass(frozen=True, slots=True)
class TextMeter:
    """Counts for one model. Counting takes as long as reading the text does.

    Attributes:
        model: its "name@version".
        tasks: that it does.
    """

    model: str
    tasks: tuple[Task, ...]
    _pipeline: Any

    @classmethod
    def of(cls, loaded: LoadedModel) -> TextMeter:
        """Of a loaded model."""
        return cls(loaded.label, loaded.deployment.tasks, loaded.pipeline)

    def question_tokens(self, question: str) -> int:
        """Tokens that the model is given of a question."""
        return self._counter.tokens_read(question)

    def prompt_tokens(self, prompt: str) -> int:
        """Tokens that a captioner begins with.

        Raises:
            RequestError: the prompt cannot be read, or is too long.
        """
        return len(self._captioner.begin(CaptionQuery(prompt)))

    def room(self, prompt_tokens: int) -> int:
        """The most tokens that a captioner can write behind a beginning of so many."""
        return self._captioner.room(prompt_tokens)

    def token_ends(self, text: str) -> list[int]:
        """Where each token of a text that the model gave ends, in characters."""
        return self._counter.token_ends(text)

    @property
    def _counter(self) -> TokenCounter:
        return cast(TokenCounter, self._pipeline.text_processor)

    @property
    def _captioner(self) -> CaptionPipeline:
        return cast(CaptionPipeline, self._pipeline)
