"""Answers with BLIP: an encoder reads the question in view of the picture, a decoder writes what it makes of both.

Source: Li et al. 2022 (arXiv:2201.12086), sec. 5.3; salesforce/BLIP, models/blip_vqa.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from vlp_spec.deployment import Deployment
from vlp_spec.errors import InferenceError, InternalError, InvalidArgumentError, TooLargeError
from vlp_spec.repository import LABELS_ASSET
from vlp_spec.tasks import Decoding, ScoredAnswer, VqaQuery, VqaResult

from vlp_pipeline.blip_inputs import BlipInputs, BlipPipeline
from vlp_pipeline.decoder_rows import TOKENS_AXIS
from vlp_pipeline.decoding_plan import DecodingPlan
from vlp_pipeline.generation_steps import GeneratedText
from vlp_pipeline.generative import AT_MASK, QUESTION_ROLE, LookedAt
from vlp_pipeline.images import DEFAULT_IMAGE_LIMITS, ImageLimits
from vlp_pipeline.pipeline import Item
from vlp_pipeline.text import DEFAULT_TEXT_LIMITS, TextLimits, check_text
from vlp_pipeline.vqa import normalise_answer, read_labels, softmax
from vlp_pipeline.writing_settings import WritingSettings
from vlp_pipeline.written_text import join_pieces

PUBLISHED_SMOOTHING = 0.1


@dataclass(frozen=True, slots=True)
class BlipVqaPipeline(BlipPipeline):
    """The parts of one deployment; a WrittenAnswerPipeline.

    Attributes:
        settings: how it writes by itself.
        positions: tokens that an answer may have, [DEC] included.
        answers: those that the checkpoint was made to choose among; None where it has none, and writes freely.
        rank_smoothing: of the loss that the published code ranks by.
    """

    settings: WritingSettings
    positions: int
    answers: tuple[str, ...] | None = None
    rank_smoothing: float = PUBLISHED_SMOOTHING

    @classmethod
    def from_deployment(
        cls,
        deployment: Deployment,
        assets_dir: Path,
        image_limits: ImageLimits = DEFAULT_IMAGE_LIMITS,
        text_limits: TextLimits = DEFAULT_TEXT_LIMITS,
    ) -> BlipVqaPipeline:
        """Read the deployment's settings and assets.

        Raises:
            ArtifactError: settings or assets are broken, or do not fit the graphs.
        """
        inputs = BlipInputs.from_deployment(deployment, assets_dir, image_limits, text_limits)
        settings = WritingSettings.from_mapping(deployment.head)
        answers = read_labels(assets_dir / LABELS_ASSET) if LABELS_ASSET in deployment.assets else None
        return cls(inputs, settings, deployment.axes[TOKENS_AXIS].max, answers)

    def check(self, query: VqaQuery) -> None:
        """Refuse a query that cannot be answered; see WrittenAnswerPipeline."""
        self._question_ids(query)
        answers = query.candidates or ()
        if len({normalise_answer(answer) for answer in answers}) != len(answers):
            raise InvalidArgumentError(
                "answers: two of them are the same apart from case and spaces; give each once", field="answers"
            )

    def question_item(self, cross: Mapping[str, np.ndarray], queries: Sequence[VqaQuery]) -> Item:
        """Questions about one picture as one row of "question"; see WrittenAnswerPipeline. A long one is cut."""
        return self.inputs.looking_item(QUESTION_ROLE, [self._question_ids(query) for query in queries], cross)

    def looked_at(self, outputs: Mapping[str, np.ndarray], queries: Sequence[VqaQuery]) -> list[LookedAt]:
        """What the decoder looks at for each question, without the padding; see WrittenAnswerPipeline."""
        found = []
        for row, query in enumerate(queries):
            tokens = len(self._question_ids(query))
            arrays = {
                name.replace("question_", "at_", 1): array[row, :, :tokens]
                for name, array in outputs.items()
                if name.startswith("question_")
            }
            found.append(LookedAt({**arrays, AT_MASK: np.ones(tokens, np.int32)}))
        return found

    def begin(self, query: VqaQuery) -> np.ndarray:
        """[DEC] alone."""
        return np.array([self.inputs.start_id], np.int32)

    def plan(self, query: VqaQuery) -> DecodingPlan:
        """How an answer is written: as many as are wanted, and beams hold."""
        texts = self.inputs.text_processor
        return self.settings.plan(
            Decoding(),
            num_texts=min(query.top_k, self.settings.num_beams),
            room=self.positions,
            end_id=texts.sep_id,
            pad_id=texts.pad_id,
        )

    def names(self, query: VqaQuery) -> tuple[str, ...] | None:
        """The query's closed list, else the checkpoint's; see WrittenAnswerPipeline."""
        return query.candidates or self.answers

    def candidate_ids(self, query: VqaQuery) -> tuple[np.ndarray, np.ndarray]:
        """The closed list of `names` as the decoder reads it; see WrittenAnswerPipeline.

        Raises:
            InvalidArgumentError: an answer holds nothing that can be read.
            TooLargeError: an answer is over a limit.
        """
        names = self.names(query)
        if names is None:
            raise InternalError(detail="candidates of a question without a closed list")
        texts = self.inputs.text_processor
        rows = [[self.inputs.start_id, *self._answer_ids(answer), texts.sep_id] for answer in names]
        lengths = np.array([len(row) for row in rows], np.int32)
        ids = np.full((len(rows), int(lengths.max())), texts.pad_id, np.int32)
        for target, row in zip(ids, rows, strict=True):
            target[: len(row)] = row
        return ids, lengths

    def written(self, query: VqaQuery, texts: Sequence[GeneratedText]) -> VqaResult:
        """Answers that were written, each once; see WrittenAnswerPipeline."""
        tokens_of = self.inputs.text_processor.tokens_of
        best: dict[str, ScoredAnswer] = {}
        for text in texts:
            answer = join_pieces(tokens_of(text.tokens))
            best.setdefault(answer, ScoredAnswer(answer, text.score, text.ended))
        return VqaResult(tuple(best.values())[: query.top_k])

    def ranked(self, query: VqaQuery, log_probabilities: np.ndarray) -> VqaResult:
        """The best of `candidates`, as the caller spelled them; see WrittenAnswerPipeline."""
        names = self.names(query) or ()
        if log_probabilities.shape != (len(names),) or not np.isfinite(log_probabilities.max(initial=-np.inf)):
            raise InferenceError(f"model output: log-probabilities of {len(names)} answers that are not numbers")
        scores = softmax(log_probabilities)
        order = np.argsort(-log_probabilities.astype(np.float64), kind="stable")[: query.top_k]
        return VqaResult(tuple(ScoredAnswer(names[index], float(scores[index])) for index in order))

    def _question_ids(self, query: VqaQuery) -> np.ndarray:
        return self.inputs.text_ids(query.question, "question", looks=True)

    def _answer_ids(self, answer: str) -> list[int]:
        check_text(answer, "answers", self.inputs.text_limits)
        ids = self.inputs.text_processor.word_ids(answer)
        if not ids:
            raise InvalidArgumentError(f"answers: {answer!r:.40} holds no readable character", field="answers")
        if 1 + len(ids) > self.positions:
            raise TooLargeError(
                f"answers: {answer!r:.40} has {len(ids)} tokens, the model writes {self.positions - 1} at most"
            )
        return ids
