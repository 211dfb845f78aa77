from vlp_proto.vlp.v1 import content_pb2 as _content_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VqaRequest(_message.Message):
    __slots__ = ("model", "picture", "questions", "top_k", "answers")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    model: str
    picture: _content_pb2.Picture
    questions: _containers.RepeatedScalarFieldContainer[str]
    top_k: int
    answers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., picture: _Optional[_Union[_content_pb2.Picture, _Mapping]] = ..., questions: _Optional[_Iterable[str]] = ..., top_k: _Optional[int] = ..., answers: _Optional[_Iterable[str]] = ...) -> None: ...

class VqaResponse(_message.Message):
    __slots__ = ("model", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    results: _containers.RepeatedCompositeFieldContainer[VqaResult]
    def __init__(self, model: _Optional[str] = ..., results: _Optional[_Iterable[_Union[VqaResult, _Mapping]]] = ...) -> None: ...

class VqaResult(_message.Message):
    __slots__ = ("question", "answers")
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    question: str
    answers: _containers.RepeatedCompositeFieldContainer[Answer]
    def __init__(self, question: _Optional[str] = ..., answers: _Optional[_Iterable[_Union[Answer, _Mapping]]] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("answer", "score")
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    answer: str
    score: float
    def __init__(self, answer: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...

class ClassifyRequest(_message.Message):
    __slots__ = ("model", "picture", "labels", "templates")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    model: str
    picture: _content_pb2.Picture
    labels: _containers.RepeatedScalarFieldContainer[str]
    templates: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., picture: _Optional[_Union[_content_pb2.Picture, _Mapping]] = ..., labels: _Optional[_Iterable[str]] = ..., templates: _Optional[_Iterable[str]] = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("model", "scores")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    model: str
    scores: _containers.RepeatedCompositeFieldContainer[_content_pb2.LabelScore]
    def __init__(self, model: _Optional[str] = ..., scores: _Optional[_Iterable[_Union[_content_pb2.LabelScore, _Mapping]]] = ...) -> None: ...

class EntailmentRequest(_message.Message):
    __slots__ = ("model", "picture", "hypotheses")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    HYPOTHESES_FIELD_NUMBER: _ClassVar[int]
    model: str
    picture: _content_pb2.Picture
    hypotheses: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., picture: _Optional[_Union[_content_pb2.Picture, _Mapping]] = ..., hypotheses: _Optional[_Iterable[str]] = ...) -> None: ...

class EntailmentResponse(_message.Message):
    __slots__ = ("model", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    results: _containers.RepeatedCompositeFieldContainer[EntailmentResult]
    def __init__(self, model: _Optional[str] = ..., results: _Optional[_Iterable[_Union[EntailmentResult, _Mapping]]] = ...) -> None: ...

class EntailmentResult(_message.Message):
    __slots__ = ("hypothesis", "label", "scores")
    HYPOTHESIS_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    hypothesis: str
    label: str
    scores: _containers.RepeatedCompositeFieldContainer[_content_pb2.LabelScore]
    def __init__(self, hypothesis: _Optional[str] = ..., label: _Optional[str] = ..., scores: _Optional[_Iterable[_Union[_content_pb2.LabelScore, _Mapping]]] = ...) -> None: ...

class CaptionRequest(_message.Message):
    __slots__ = ("model", "picture", "prompt", "num_captions", "max_tokens", "min_tokens", "num_beams", "length_penalty", "temperature", "top_p", "seed")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    NUM_CAPTIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MIN_TOKENS_FIELD_NUMBER: _ClassVar[int]
    NUM_BEAMS_FIELD_NUMBER: _ClassVar[int]
    LENGTH_PENALTY_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    model: str
    picture: _content_pb2.Picture
    prompt: str
    num_captions: int
    max_tokens: int
    min_tokens: int
    num_beams: int
    length_penalty: float
    temperature: float
    top_p: float
    seed: int
    def __init__(self, model: _Optional[str] = ..., picture: _Optional[_Union[_content_pb2.Picture, _Mapping]] = ..., prompt: _Optional[str] = ..., num_captions: _Optional[int] = ..., max_tokens: _Optional[int] = ..., min_tokens: _Optional[int] = ..., num_beams: _Optional[int] = ..., length_penalty: _Optional[float] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., seed: _Optional[int] = ...) -> None: ...

class CaptionResponse(_message.Message):
    __slots__ = ("model", "captions")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CAPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    captions: _containers.RepeatedCompositeFieldContainer[ScoredCaption]
    def __init__(self, model: _Optional[str] = ..., captions: _Optional[_Iterable[_Union[ScoredCaption, _Mapping]]] = ...) -> None: ...

class ScoredCaption(_message.Message):
    __slots__ = ("text", "score")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    text: str
    score: float
    def __init__(self, text: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...

class StreamCaptionRequest(_message.Message):
    __slots__ = ("request",)
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    request: CaptionRequest
    def __init__(self, request: _Optional[_Union[CaptionRequest, _Mapping]] = ...) -> None: ...

class StreamCaptionResponse(_message.Message):
    __slots__ = ("text", "answer")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    text: str
    answer: CaptionResponse
    def __init__(self, text: _Optional[str] = ..., answer: _Optional[_Union[CaptionResponse, _Mapping]] = ...) -> None: ...

class MatchRequest(_message.Message):
    __slots__ = ("model", "picture", "texts")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    picture: _content_pb2.Picture
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., picture: _Optional[_Union[_content_pb2.Picture, _Mapping]] = ..., texts: _Optional[_Iterable[str]] = ...) -> None: ...

class MatchResponse(_message.Message):
    __slots__ = ("model", "scores")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    model: str
    scores: _containers.RepeatedCompositeFieldContainer[TextScore]
    def __init__(self, model: _Optional[str] = ..., scores: _Optional[_Iterable[_Union[TextScore, _Mapping]]] = ...) -> None: ...

class TextScore(_message.Message):
    __slots__ = ("text", "score", "itm", "itc")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    ITM_FIELD_NUMBER: _ClassVar[int]
    ITC_FIELD_NUMBER: _ClassVar[int]
    text: str
    score: float
    itm: float
    itc: float
    def __init__(self, text: _Optional[str] = ..., score: _Optional[float] = ..., itm: _Optional[float] = ..., itc: _Optional[float] = ...) -> None: ...

class ReasoningRequest(_message.Message):
    __slots__ = ("model", "left", "right", "statements")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    STATEMENTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    left: _content_pb2.Picture
    right: _content_pb2.Picture
    statements: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, model: _Optional[str] = ..., left: _Optional[_Union[_content_pb2.Picture, _Mapping]] = ..., right: _Optional[_Union[_content_pb2.Picture, _Mapping]] = ..., statements: _Optional[_Iterable[str]] = ...) -> None: ...

class ReasoningResponse(_message.Message):
    __slots__ = ("model", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    results: _containers.RepeatedCompositeFieldContainer[ReasoningResult]
    def __init__(self, model: _Optional[str] = ..., results: _Optional[_Iterable[_Union[ReasoningResult, _Mapping]]] = ...) -> None: ...

class ReasoningResult(_message.Message):
    __slots__ = ("statement", "label", "score")
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    statement: str
    label: bool
    score: float
    def __init__(self, statement: _Optional[str] = ..., label: _Optional[bool] = ..., score: _Optional[float] = ...) -> None: ...

class GroundingRequest(_message.Message):
    __slots__ = ("model", "picture", "phrases", "top_k")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    PHRASES_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    model: str
    picture: _content_pb2.Picture
    phrases: _containers.RepeatedScalarFieldContainer[str]
    top_k: int
    def __init__(self, model: _Optional[str] = ..., picture: _Optional[_Union[_content_pb2.Picture, _Mapping]] = ..., phrases: _Optional[_Iterable[str]] = ..., top_k: _Optional[int] = ...) -> None: ...

class GroundingResponse(_message.Message):
    __slots__ = ("model", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    results: _containers.RepeatedCompositeFieldContainer[GroundingResult]
    def __init__(self, model: _Optional[str] = ..., results: _Optional[_Iterable[_Union[GroundingResult, _Mapping]]] = ...) -> None: ...

class GroundingResult(_message.Message):
    __slots__ = ("phrase", "boxes")
    PHRASE_FIELD_NUMBER: _ClassVar[int]
    BOXES_FIELD_NUMBER: _ClassVar[int]
    phrase: str
    boxes: _containers.RepeatedCompositeFieldContainer[_content_pb2.ScoredBox]
    def __init__(self, phrase: _Optional[str] = ..., boxes: _Optional[_Iterable[_Union[_content_pb2.ScoredBox, _Mapping]]] = ...) -> None: ...

class RegionsRequest(_message.Message):
    __slots__ = ("model", "picture", "features")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    model: str
    picture: _content_pb2.Picture
    features: bool
    def __init__(self, model: _Optional[str] = ..., picture: _Optional[_Union[_content_pb2.Picture, _Mapping]] = ..., features: _Optional[bool] = ...) -> None: ...

class RegionsResponse(_message.Message):
    __slots__ = ("model", "encoder", "regions", "features", "feature_size")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    REGIONS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    FEATURE_SIZE_FIELD_NUMBER: _ClassVar[int]
    model: str
    encoder: str
    regions: _containers.RepeatedCompositeFieldContainer[FoundRegion]
    features: bytes
    feature_size: int
    def __init__(self, model: _Optional[str] = ..., encoder: _Optional[str] = ..., regions: _Optional[_Iterable[_Union[FoundRegion, _Mapping]]] = ..., features: _Optional[bytes] = ..., feature_size: _Optional[int] = ...) -> None: ...

class FoundRegion(_message.Message):
    __slots__ = ("box", "score", "name", "attribute")
    BOX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTE_FIELD_NUMBER: _ClassVar[int]
    box: _content_pb2.Box
    score: float
    name: str
    attribute: str
    def __init__(self, box: _Optional[_Union[_content_pb2.Box, _Mapping]] = ..., score: _Optional[float] = ..., name: _Optional[str] = ..., attribute: _Optional[str] = ...) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ("model", "inputs", "dimensions")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    inputs: _containers.RepeatedCompositeFieldContainer[EmbedInput]
    dimensions: int
    def __init__(self, model: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[EmbedInput, _Mapping]]] = ..., dimensions: _Optional[int] = ...) -> None: ...

class EmbedInput(_message.Message):
    __slots__ = ("text", "picture")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    text: str
    picture: _content_pb2.Picture
    def __init__(self, text: _Optional[str] = ..., picture: _Optional[_Union[_content_pb2.Picture, _Mapping]] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("model", "encoder", "vectors", "tokens")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    VECTORS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    model: str
    encoder: str
    vectors: _containers.RepeatedCompositeFieldContainer[_content_pb2.Vector]
    tokens: int
    def __init__(self, model: _Optional[str] = ..., encoder: _Optional[str] = ..., vectors: _Optional[_Iterable[_Union[_content_pb2.Vector, _Mapping]]] = ..., tokens: _Optional[int] = ...) -> None: ...
