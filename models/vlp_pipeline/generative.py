"""What pipelines of models that write texts speak: a picture's states, a text's beginning, and what was written.

A model that writes has these graphs. Names of tensors are of one graph alone; `{l}` counts the text blocks.

| role | in | out |
|---|---|---|
| vision | pixels | image_states (batch, states, width) |
| cross | seen_states | cross_key_{l}, cross_value_{l} (batch, heads, states, head width) |
| question (VQA) | question_ids, question_mask (batch, texts, text), looked_key_{l}, looked_value_{l} as of `cross` | question_key_{l}, question_value_{l} (batch, texts, heads, text, head width) |
| decoder | input_ids (batch, beams, tokens), past_lengths (batch,), past_key_{l}, past_value_{l} (batch, beams, heads, past, head width), at_key_{l}, at_value_{l} (batch, heads, states or text, head width), at_mask (batch, text) for VQA | logits (batch, beams, tokens, vocabulary), new_key_{l}, new_value_{l} (batch, beams, heads, tokens, head width) |

`cross` is computed once for a picture; its arrays are what the decoder of a captioner, or the question's encoder, looks
at. The decoder serves the beginning of a text (`past_lengths` 0), every step, and the scoring of given answers.

A model of the same kind that judges texts has, of these, `vision` and mostly `cross`, and besides:

| role | in | out |
|---|---|---|
| vision (of a matcher) | pixels | image_states, image_embeds (batch, dimension) of length 1 |
| text | input_ids, text_mask (batch, text) | text_embeds (batch, dimension) of length 1 |
| fusion | question_ids, question_mask (batch, texts, text), looked_key_{l}, looked_value_{l} | itm_logits (batch, texts, 2) |
| pair | left_states, right_states as of `vision`, input_ids, text_mask (batch, text) | reasoning_logits (batch, 2) |
"""  # noqa: E501 - a table

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from vlp_spec.deployment import GraphRef
from vlp_spec.errors import ArtifactError
from vlp_spec.tasks import (
    CaptionQuery,
    CaptionResult,
    MatchResult,
    ReasoningQuery,
    ReasoningResult,
    VqaQuery,
    VqaResult,
)
from vlp_spec.tensors import TensorSpec

from vlp_pipeline.generation import DecodingPlan, GeneratedText
from vlp_pipeline.pipeline import Buckets, EmbeddingPipeline, Item, PreparedImage

VISION_ROLE, CROSS_ROLE, QUESTION_ROLE, DECODER_ROLE = "vision", "cross", "question", "decoder"
TEXT_ROLE, FUSION_ROLE, PAIR_ROLE = "text", "fusion", "pair"
AT_MASK = "at_mask"


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Sizes of a decoder's states, read from its graph.

    Attributes:
        layers: blocks.
        heads: attention heads.
        head_size: width of a head.
        masked: whether what it looks at has a mask (a question), or is of one size (a picture).
    """

    layers: int
    heads: int
    head_size: int
    masked: bool

    @classmethod
    def of(cls, graph: GraphRef) -> DecoderShape:
        """Of a graph with role "decoder".

        Raises:
            ArtifactError: it is none.
        """
        return cls.of_inputs(graph.inputs, graph.name)

    @classmethod
    def of_inputs(cls, inputs: Sequence[TensorSpec], graph: str) -> DecoderShape:
        """Of the inputs of such a graph, whose name is for the message; errors as `of`."""
        specs = {spec.name: spec.shape for spec in inputs}
        layers = sum(name.startswith("past_key_") for name in specs)
        shape = specs.get("past_key_0", ())
        if len(shape) != 5 or not isinstance(shape[2], int) or not isinstance(shape[4], int):
            raise ArtifactError(f"graph {graph}: past_key_0 is {shape}, expected five axes, two of them fixed")
        return cls(layers, shape[2], shape[4], AT_MASK in specs)


@dataclass(frozen=True, slots=True, eq=False)
class LookedAt:
    """What a decoder looks at while it writes one text, or several about the same thing.

    Attributes:
        arrays: at_key_{l}, at_value_{l} without the batch axis, and at_mask where the decoder has it.
    """

    arrays: Mapping[str, np.ndarray]


class StagedPictures(Protocol):
    """The picture's way through the first graph, which reads nothing else."""

    @property
    def family(self) -> str:
        """The family's name, as in Deployment.family."""
        ...

    def prepare_image(self, data: bytes) -> PreparedImage:
        """Decode and process a picture file; see VqaPipeline."""
        ...

    def vision_item(self, image: PreparedImage) -> Item:
        """A picture as a row of the graph with role "vision"."""
        ...

    def collate(self, items: Sequence[Item], buckets: Buckets | None = None) -> dict[str, np.ndarray]:
        """Stack items of one role, whichever; see VqaPipeline."""
        ...


class PictureStates(StagedPictures, Protocol):
    """The picture's way through the first two graphs."""

    def cross_item(self, outputs: Mapping[str, np.ndarray]) -> Item:
        """The row of outputs of "vision" as a row of "cross"."""
        ...


class CaptionPipeline(PictureStates, Protocol):
    """A family's way from a picture to words about it."""

    def looked_at(self, cross: Mapping[str, np.ndarray]) -> LookedAt:
        """The row of outputs of "cross" as the decoder takes it."""
        ...

    def begin(self, query: CaptionQuery) -> np.ndarray:
        """How the text begins, (tokens,) int32, the model's start token first; at least one token.

        Raises:
            InvalidArgumentError: the prompt cannot be read.
            TooLargeError: it leaves no room, or is over a limit of texts.
        """
        ...

    def plan(self, query: CaptionQuery, prompt_tokens: int) -> DecodingPlan:
        """The query's decoding with the model's defaults; never more tokens than positions are left.

        Raises:
            InvalidArgumentError: num_captions, min_tokens or max_tokens do not go with the defaults or the positions.
        """
        ...

    def room(self, prompt_tokens: int) -> int:
        """The most tokens that can follow a beginning of so many."""
        ...

    def text_of(self, query: CaptionQuery, tokens: Sequence[int]) -> str:
        """Words of generated tokens, the caller's own prompt in front and the model's own beginning left out."""
        ...

    def result(self, query: CaptionQuery, texts: Sequence[GeneratedText]) -> CaptionResult:
        """The captions, in the order of `texts`."""
        ...


class WrittenAnswerPipeline(PictureStates, Protocol):
    """A family's way from a picture and questions to answers that it writes, or chooses by what it would write."""

    def check(self, query: VqaQuery) -> None:
        """Refuse a query that cannot be answered, before the picture is looked at.

        Raises:
            InvalidArgumentError: empty or unreadable question, or an answer that is given twice.
            TooLargeError: over a limit.
        """
        ...

    def question_item(self, cross: Mapping[str, np.ndarray], queries: Sequence[VqaQuery]) -> Item:
        """Questions about one picture, with the row of outputs of "cross", as one row of "question"."""
        ...

    def looked_at(self, outputs: Mapping[str, np.ndarray], queries: Sequence[VqaQuery]) -> list[LookedAt]:
        """What the decoder looks at for each question, from the row of outputs of "question"."""
        ...

    def begin(self, query: VqaQuery) -> np.ndarray:
        """How an answer begins, (tokens,) int32."""
        ...

    def plan(self, query: VqaQuery) -> DecodingPlan:
        """How an answer to a question without a closed list is written."""
        ...

    @property
    def rank_smoothing(self) -> float:
        """How a closed list is weighed; see `rank_answers`."""
        ...

    def names(self, query: VqaQuery) -> tuple[str, ...] | None:
        """The closed list to choose among: the query's, else the checkpoint's own; None where it writes freely."""
        ...

    def candidate_ids(self, query: VqaQuery) -> tuple[np.ndarray, np.ndarray]:
        """The closed list of `names` as the decoder reads it.

        Returns:
            ids (answers, tokens) int32, the start token first and the end token last, padded behind; and the number of
            real ones in each row, (answers,) int32.
        """
        ...

    def written(self, query: VqaQuery, texts: Sequence[GeneratedText]) -> VqaResult:
        """Answers that were written."""
        ...

    def ranked(self, query: VqaQuery, log_probabilities: np.ndarray) -> VqaResult:
        """The best of `names`, whose log-probabilities are (answers,); scores are a softmax over them."""
        ...


class StagedMatchPipeline(PictureStates, EmbeddingPipeline, Protocol):
    """A family's way from a picture and texts to how well they fit, by embeddings alone or by reading them together.

    As an EmbeddingPipeline its `image_item` is `vision_item`, and `embedding` takes the outputs of "vision" or "text".
    A text's similarity (ITC) is the product of the two embeddings.
    """

    def check_match(self, text: str) -> None:
        """Refuse a text that cannot be judged, before the picture is looked at.

        Raises:
            InvalidArgumentError: it is empty, or cannot be read.
            TooLargeError: over its limit.
        """
        ...

    def fusion_item(self, cross: Mapping[str, np.ndarray], texts: Sequence[str]) -> Item:
        """Texts about one picture, with the row of outputs of "cross", as one row of "fusion"; errors as `check_match`.

        A text of more tokens than the model reads is cut.
        """
        ...

    def results(
        self, outputs: Mapping[str, np.ndarray], similarities: Sequence[float] | None = None
    ) -> list[MatchResult]:
        """How well each text of a `fusion_item` fits.

        Args:
            outputs: the row of outputs of "fusion".
            similarities: of the same texts, where they are known; `itc` and `rank_score` are None without.

        Raises:
            InferenceError: outputs that are not finite, or of another shape.
        """
        ...


class StagedReasoningPipeline(StagedPictures, Protocol):
    """A family's way from two pictures, each seen by itself, and a statement to the probability that it is true."""

    def check(self, query: ReasoningQuery) -> None:
        """Refuse a statement that cannot be judged, before the pictures are looked at; errors as of VqaPipeline."""
        ...

    def pair_item(self, left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray], query: ReasoningQuery) -> Item:
        """The rows of outputs of "vision" for both pictures, and the statement, as one row of "pair"."""
        ...

    def result(self, query: ReasoningQuery, outputs: Mapping[str, np.ndarray]) -> ReasoningResult:
        """How likely it is true, from the row of outputs of "pair"; errors as of VqaPipeline."""
        ...
