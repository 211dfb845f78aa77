"""A task model takes as much in one request as the HTTP API takes in a call, and no more."""

from dataclasses import replace

import pytest
from vlp_server.config.settings import LimitsConfig
from vlp_server.task_models.task_limits import check_limits
from vlp_server.task_models.task_options import read_options
from vlp_server.task_models.task_records import TaskRequest
from vlp_spec.errors import InvalidArgumentError, TooLargeError
from vlp_spec.tasks import Task

SMALL = LimitsConfig(
    questions=2,
    question_chars=4,
    answers=2,
    answer_chars=3,
    labels=3,
    label_chars=5,
    templates=2,
    texts=2,
    text_chars=6,
    inputs=3,
)


def check(task: Task, texts: list[str], options: bytes = b"", images: int = 1, limits: LimitsConfig = SMALL) -> None:
    check_limits(task, TaskRequest([b"picture"] * images, texts, options), read_options(task, options), limits)


JUDGING = (Task.MATCH, Task.ENTAILMENT, Task.REASONING, Task.GROUNDING)


@pytest.mark.parametrize(
    ("task", "texts", "options", "images"),
    [
        (Task.VQA, ["four", "4444"], b'{"answers": ["yes", "no"]}', 1),
        (Task.CLASSIFY, ["a", "b", "five5"], b'{"templates": ["a {}", "the {}"]}', 1),
        (Task.EMBEDDINGS, ["sixsix"], b"", 2),
        (Task.CAPTION, ["sixsix"], b"", 1),
        (Task.REGIONS, [], b"", 1),
        *((task, ["sixsix", "six"], b"", 1) for task in JUDGING),
    ],
)
def test_what_is_just_within_the_limits_is_taken(task: Task, texts: list[str], options: bytes, images: int) -> None:
    check(task, texts, options, images)
    tight = replace(SMALL, questions=1, labels=1, texts=1, inputs=1, question_chars=1, label_chars=1, text_chars=1)
    if texts:
        with pytest.raises(TooLargeError):
            check(task, texts, options, images, tight)


@pytest.mark.parametrize(
    ("task", "texts", "options", "images", "message"),
    [
        (Task.VQA, ["a", "b", "c"], b"", 1, "text: got 3, at most 2"),
        (Task.VQA, ["fives"], b"", 1, "text: 5 characters, at most 4"),
        (Task.VQA, ["a"], b'{"answers": ["a", "b", "c"]}', 1, "answers: got 3, at most 2"),
        (Task.VQA, ["a"], b'{"answers": ["four"]}', 1, "answers: 4 characters, at most 3"),
        (Task.CLASSIFY, ["a", "b", "c", "d"], b"", 1, "labels: got 4, at most 3"),
        (Task.CLASSIFY, ["sixsix"], b"", 1, "labels: 6 characters, at most 5"),
        (Task.CLASSIFY, ["a"], b'{"templates": ["{}", "a {}", "b {}"]}', 1, "templates: got 3, at most 2"),
        (Task.CLASSIFY, ["a"], b'{"templates": ["a {} bcd"]}', 1, "templates: 8 characters, at most 6"),
        (Task.EMBEDDINGS, ["a", "b"], b"", 2, "image, text: got 4, at most 3"),
        (Task.EMBEDDINGS, [], b"", 4, "image, text: got 4, at most 3"),
        (Task.EMBEDDINGS, ["sevens."], b"", 0, "text: 7 characters, at most 6"),
        (Task.CAPTION, ["sevens."], b"", 1, "text: 7 characters, at most 6"),
        *((task, ["a", "b", "c"], b"", 1, "text: got 3, at most 2") for task in JUDGING),
        *((task, ["sevens."], b"", 1, "text: 7 characters, at most 6") for task in JUDGING),
    ],
)
def test_what_is_over_a_limit_says_which(
    task: Task, texts: list[str], options: bytes, images: int, message: str
) -> None:
    with pytest.raises(TooLargeError, match=message):
        check(task, texts, options, images)


def test_an_empty_text_has_no_vector() -> None:
    with pytest.raises(InvalidArgumentError, match=r"text\[1\]: an empty text"):
        check(Task.EMBEDDINGS, ["a", " "])
