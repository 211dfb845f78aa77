import json

import pytest
from vlp_server.engines.task_wire import fault_from, fault_text, options_of, parse_result, result_json
from vlp_spec import errors
from vlp_spec.errors import (
    DeadlineError,
    ErrorKind,
    InferenceError,
    InternalError,
    InvalidArgumentError,
    InvalidImageError,
    ModelNotFoundError,
    NoExtractorError,
    OverloadedError,
    TaskNotSupportedError,
    TooLargeError,
    UnavailableError,
    VlpError,
)
from vlp_spec.tasks import (
    CaptionQuery,
    CaptionResult,
    ClassifyResult,
    Decoding,
    EntailmentQuery,
    EntailmentResult,
    GroundingQuery,
    GroundingResult,
    MatchQuery,
    MatchResult,
    ReasoningQuery,
    ReasoningResult,
    ScoredAnswer,
    ScoredBox,
    ScoredCaption,
    ScoredLabel,
    Task,
    VqaQuery,
    VqaResult,
)
from vlp_spec.triton_names import task_model_name

COME_BACK = (
    InvalidImageError,
    TooLargeError,
    ModelNotFoundError,
    TaskNotSupportedError,
    NoExtractorError,
    OverloadedError,
    UnavailableError,
    DeadlineError,
    InferenceError,
)
# Of kinds that no task has: what they say is another's business, and stays in the log.
STRANGE = [kind for kind in ErrorKind if kind not in {one.kind for one in (*COME_BACK, InvalidArgumentError)}]
WORDS = "image: 3 > 2 (of café): nothing\nmore"


@pytest.mark.parametrize("kind", COME_BACK)
def test_an_error_of_a_task_comes_back_as_it_was(kind: type[VlpError]) -> None:
    back = fault_from(fault_text(kind(WORDS, detail="for the log")))
    assert type(back) is kind
    assert (back.message, back.detail) == (WORDS, None)


@pytest.mark.parametrize("field", [None, "image", "answers.0", "items[2].text", "top_k"])
def test_a_field_comes_back(field: str | None) -> None:
    back = fault_from(fault_text(InvalidArgumentError(WORDS, field=field)))
    assert isinstance(back, InvalidArgumentError)
    assert (back.message, back.field) == (WORDS, field)


@pytest.mark.parametrize("field", ["a b", "a)", "", "a\nb", "x" * 65, "café au lait"])
def test_a_field_whose_name_is_none_is_left_out(field: str) -> None:
    back = fault_from(fault_text(InvalidArgumentError("m", field=field)))
    assert isinstance(back, InvalidArgumentError)
    assert (back.message, back.field) == ("m", None)


@pytest.mark.parametrize("kind", STRANGE)
def test_every_other_kind_comes_back_as_a_fault_of_ours(kind: ErrorKind) -> None:
    back = fault_from(f"{kind}: secret words")
    assert type(back) is InternalError
    assert "secret" not in back.message
    assert back.detail == f"{kind}: secret words"


def test_every_kind_that_a_class_of_errors_has_is_written_and_read() -> None:
    kinds = {one.kind for one in vars(errors).values() if isinstance(one, type) and issubclass(one, VlpError)}
    assert kinds == set(ErrorKind)
    assert all(fault_from(f"{kind}: x") for kind in kinds)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "overloaded",
        "overloaded:now",
        "overloaded :now",
        " overloaded: now",
        "Overloaded: now",
        "OVERLOADED: now",
        "overloaded(): now",
        "overloaded(a b): now",
        "overloaded(a: now",
        "very overloaded: now",
        "overloadedx: now",
        "[request id: 1] overloaded: now",
        "failed: unavailable: x",
        "unknown_kind: x",
        "invalid_argument\n: x",
    ],
)
def test_a_message_that_merely_looks_like_one_is_none(message: str) -> None:
    assert fault_from(message) is None


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f600"])
def test_a_message_stays_within_what_a_header_carries(letter: str) -> None:
    text = fault_text(InvalidImageError(letter * 100_000))
    assert len(text.encode()) * 3 < 8 * 1024
    assert text.startswith("invalid_image: " + letter * 100)
    assert set(text.removeprefix("invalid_image: ")) == {letter}


RESULTS = {
    Task.VQA: VqaResult((ScoredAnswer("chat « noir »", 0.1 + 0.2), ScoredAnswer("", 0.0))),
    Task.CAPTION: CaptionResult((ScoredCaption("a cat\nand a dog", 1 / 3),)),
    Task.CLASSIFY: ClassifyResult((ScoredLabel("red", 1.0),)),
    Task.MATCH: MatchResult(0.5, None, -0.25, 12.0),
    Task.ENTAILMENT: EntailmentResult((ScoredLabel("neutral", 0.9),)),
    Task.REASONING: ReasoningResult(1e-9),
    Task.GROUNDING: GroundingResult((ScoredBox((0.0, 0.1, 0.2, 1.0), 0.7),)),
}


@pytest.mark.parametrize("task", RESULTS)
def test_a_result_comes_back_to_the_last_digit(task: Task) -> None:
    assert parse_result(task, result_json(RESULTS[task])) == RESULTS[task]


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"\xff", b'{"answers": [{"answer": "a"}]}', b"[" * 100_000])
def test_a_result_that_is_none_is_a_fault_of_ours(data: bytes) -> None:
    with pytest.raises(InternalError) as caught:
        parse_result(Task.VQA, data)
    assert "result of vqa" in (caught.value.detail or "")


@pytest.mark.parametrize(
    ("query", "options"),
    [
        (VqaQuery("q"), {"top_k": 5}),
        (VqaQuery("q", 3, ("a", "b")), {"top_k": 3, "answers": ["a", "b"]}),
        (GroundingQuery("p", 2), {"top_k": 2}),
        (MatchQuery("t"), {}),
        (EntailmentQuery("h"), {}),
        (ReasoningQuery("s"), {}),
        (CaptionQuery(), {"temperature": 0.0, "top_p": 1.0, "num_captions": 1}),
        (
            CaptionQuery("a", 2, Decoding(max_tokens=9, num_beams=4)),
            {"max_tokens": 9, "num_beams": 4, "temperature": 0.0, "top_p": 1.0, "num_captions": 2},
        ),
    ],
)
def test_options_say_all_of_a_query_but_its_text(query: object, options: dict[str, object]) -> None:
    assert json.loads(json.dumps(options_of([query]))) == options


def test_a_tasks_model_is_named_after_deployment_and_task() -> None:
    assert task_model_name("scenes-vilt", Task.VQA) == "scenes-vilt.vqa"
