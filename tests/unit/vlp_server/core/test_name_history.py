import pytest
from vlp_server.core.name_history import NameHistory


@pytest.fixture
def names():
    """The name "a" meant one, two and one again."""
    made = NameHistory()
    made.switch("a", "one", "two")
    made.switch("a", "two", "one")
    return made


def test_a_name_that_was_not_switched_is_unknown():
    names = NameHistory()
    assert "a" not in names
    assert (names.now("a"), names.before("a")) == (None, None)


def test_the_first_meaning_may_be_none():
    names = NameHistory()
    names.switch("a", None, "one")
    assert (names.now("a"), names.before("a")) == ("one", None)
    with pytest.raises(IndexError):
        names.back("a")


def test_there_is_a_way_back_to_the_beginning(names):
    assert (names.now("a"), names.before("a")) == ("one", "two")
    names.back("a")
    assert (names.now("a"), names.before("a")) == ("two", "one")
    names.back("a")
    assert (names.now("a"), names.before("a"), "a" in names) == ("one", None, True)


def test_the_same_again_is_no_step(names):
    names.switch("a", "one", "one")
    names.back("a")
    assert names.now("a") == "two"


def test_what_is_forgotten_was_never_meant(names):
    names.forget("two")
    assert (names.now("a"), names.before("a")) == ("one", None)
    names.forget("one")
    assert "a" not in names


def test_one_takes_the_place_of_another(names):
    names.replace("two", "three")
    names.back("a")
    assert names.now("a") == "three"


def test_the_way_back_is_bounded():
    names = NameHistory()
    for number in range(100):
        names.switch("a", None, number)
    steps = 0
    while names.before("a") is not None:
        names.back("a")
        steps += 1
    assert steps == 9
