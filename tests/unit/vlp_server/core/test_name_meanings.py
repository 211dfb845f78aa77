import pytest
from vlp_server.core.name_meanings import NameMeanings


@pytest.fixture
def meanings():
    """The name "a" meant one, two and one again."""
    made = NameMeanings()
    made.switch("a", "one", "two")
    made.switch("a", "two", "one")
    return made


def test_a_name_that_was_not_switched_is_unknown():
    meanings = NameMeanings()
    assert "a" not in meanings
    assert (meanings.now("a"), meanings.before("a")) == (None, None)


def test_the_first_meaning_may_be_none():
    meanings = NameMeanings()
    meanings.switch("a", None, "one")
    assert (meanings.now("a"), meanings.before("a")) == ("one", None)
    with pytest.raises(IndexError):
        meanings.back("a")


def test_there_is_a_way_back_to_the_beginning(meanings):
    assert (meanings.now("a"), meanings.before("a")) == ("one", "two")
    meanings.back("a")
    assert (meanings.now("a"), meanings.before("a")) == ("two", "one")
    meanings.back("a")
    assert (meanings.now("a"), meanings.before("a"), "a" in meanings) == ("one", None, True)


def test_the_same_again_is_no_step(meanings):
    meanings.switch("a", "one", "one")
    meanings.back("a")
    assert meanings.now("a") == "two"


def test_what_is_forgotten_was_never_meant(meanings):
    meanings.forget("two")
    assert (meanings.now("a"), meanings.before("a")) == ("one", None)
    meanings.forget("one")
    assert "a" not in meanings


def test_one_takes_the_place_of_another(meanings):
    meanings.replace("two", "three")
    meanings.back("a")
    assert meanings.now("a") == "three"


def test_the_way_back_is_bounded():
    meanings = NameMeanings()
    for number in range(100):
        meanings.switch("a", None, number)
    steps = 0
    while meanings.before("a") is not None:
        meanings.back("a")
        steps += 1
    assert steps == 9
