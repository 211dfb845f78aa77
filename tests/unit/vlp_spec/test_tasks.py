import dataclasses

import pytest
from vlp_spec.errors import InvalidArgumentError
from vlp_spec.tasks import MAX_TOP_K, ClassifyQuery, Decoding, Lane, MatchQuery, Task, VqaQuery


def test_defaults() -> None:
    query = VqaQuery("what?")
    assert (query.top_k, query.candidates) == (5, None)
    assert VqaQuery("what?", MAX_TOP_K).top_k == 100
    assert hash(query) == hash(VqaQuery("what?"))


@pytest.mark.parametrize("question", ["", " ", "\n\t", "\u3000\u00a0"])
def test_an_empty_question(question: str) -> None:
    with pytest.raises(InvalidArgumentError, match="question: empty") as caught:
        VqaQuery(question)
    assert caught.value.field == "question"


@pytest.mark.parametrize("top_k", [0, -1, 101])
def test_top_k_out_of_range(top_k: int) -> None:
    with pytest.raises(InvalidArgumentError, match=f"top_k: got {top_k}, expected 1 to 100") as caught:
        VqaQuery("what?", top_k)
    assert caught.value.field == "top_k"


@pytest.mark.parametrize(("candidates", "message"), [((), "an empty list"), (("a", "b", "a"), "given twice")])
def test_closed_lists_that_cannot_be(candidates: tuple[str, ...], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message) as caught:
        VqaQuery("what?", candidates=candidates)
    assert caught.value.field == "answers"


def test_a_query_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        VqaQuery("what?").top_k = 3  # type: ignore[misc]


def test_names_on_the_wire() -> None:
    assert [str(lane) for lane in Lane] == ["interactive", "bulk"]
    assert Task("vqa") is Task.VQA
    tasks = "vqa caption embeddings classify match entailment reasoning grounding regions"
    assert [str(task) for task in Task] == tasks.split(" ")


@pytest.mark.parametrize(
    ("labels", "templates", "field"),
    [
        ((), ("{}",), "labels"),
        (("cat", " "), ("{}",), "labels"),
        (("cat", "cat"), ("{}",), "labels"),
        (("cat",), (), "templates"),
        (("cat",), ("a photo",), "template"),
        (("cat",), ("{} and {}",), "template"),
    ],
)
def test_classifications_that_cannot_be(labels: tuple[str, ...], templates: tuple[str, ...], field: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        ClassifyQuery(labels, templates)
    assert caught.value.field == field


def test_a_label_goes_into_every_template_as_it_is() -> None:
    assert ClassifyQuery(("{x}",)).texts("{x}") == ("{x}",)
    assert ClassifyQuery(("a",), ("one {}.", "{} here")).texts("a") == ("one a.", "a here")


def test_an_empty_text_matches_nothing() -> None:
    with pytest.raises(InvalidArgumentError, match="text: empty"):
        MatchQuery(" \n")


@pytest.mark.parametrize(
    ("decoding", "repeatable"),
    [
        (Decoding(), True),
        (Decoding(num_beams=3), True),
        (Decoding(seed=1), True),
        (Decoding(temperature=0.7), False),
        (Decoding(temperature=0.7, top_p=0.9), False),
        (Decoding(temperature=0.7, seed=0), True),
    ],
)
def test_only_chance_without_a_seed_gives_another_text_each_time(decoding: Decoding, repeatable: bool) -> None:
    assert decoding.is_repeatable is repeatable
