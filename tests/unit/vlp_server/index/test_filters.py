import json
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vlp_server.index.filter_sql import filter_to_sql
from vlp_server.index.filters import parse_filter
from vlp_spec.errors import InvalidArgumentError


def nested(depth):
    condition = {"a": 1}
    for _ in range(depth - 1):
        condition = {"not": condition}
    return condition


@pytest.mark.parametrize(
    "condition",
    [
        None,
        [],
        {},
        "a",
        1,
        {"a": {}},
        {"a": []},
        {"a": [1]},
        {"a": {"near": 1}},
        {"a": {"gt": None}},
        {"a": {"gt": True}},
        {"a": {"lt": [1]}},
        {"a": {"eq": {"b": 1}}},
        {"a": {"in": []}},
        {"a": {"in": "abc"}},
        {"a": {"in": [None]}},
        {"a": {"in": list(range(257))}},
        {"a": {"exists": 1}},
        {"a": {1: 1}},
        {"and": []},
        {"and": {}},
        {"or": [1]},
        {"not": []},
        {"not": {}},
        {1: 1},
        {"": 1},
        {"a.": 1},
        {".a": 1},
        {"a..b": 1},
        {"a.b.c.d.e.f.g.h.i": 1},
        {'a"': 1},
        {"a\\": 1},
        {"a[0]": 1},
        {"a\n": 1},
        {"a\0": 1},
        {"\ud800": 1},
        {"x" * 129: 1},
        {"a": float("nan")},
        {"a": {"lt": float("inf")}},
        {"a": 2**63},
        {"a": "\0"},
        {"a": "\ud800"},
        {"a": "x" * 1025},
        {"or": [{"a": n} for n in range(64)]},
        nested(9),
    ],
)
def test_what_is_not_the_language_is_refused(condition):
    with pytest.raises(InvalidArgumentError) as caught:
        parse_filter(condition)
    assert caught.value.field == "filter"
    assert len(str(caught.value)) < 300


def test_the_limits_themselves_are_allowed():
    parse_filter(nested(8))
    parse_filter({"or": [{"a": n} for n in range(63)]})
    parse_filter({"a": {"in": list(range(256))}})
    parse_filter({"a.b.c.d.e.f.g.h": "x" * 1024})


names = st.sampled_from(["a", "b", "a.b", "c"])
numbers = st.one_of(st.integers(-3, 3), st.sampled_from([0.1, -0.5, 1.0, 1e300, 2**60, 0.30000000000000004, 0.3]))
texts = st.sampled_from(["", "a", "b", "B", "ä", "'", '"', "\\", "\U0001f600", "\uffff"])
scalars = st.one_of(numbers, texts, st.booleans())
leaves = st.one_of(
    st.builds(lambda name, value: {name: value}, names, st.one_of(scalars, st.none())),
    st.builds(lambda name, word, value: {name: {word: value}}, names, st.sampled_from(["eq", "ne"]), scalars),
    st.builds(
        lambda name, word, value: {name: {word: value}},
        names,
        st.sampled_from(["lt", "lte", "gt", "gte"]),
        st.one_of(numbers, texts),
    ),
    st.builds(lambda name, values: {name: {"in": values}}, names, st.lists(scalars, min_size=1, max_size=4)),
    st.builds(lambda name, flag: {name: {"exists": flag}}, names, st.booleans()),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"and": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"or": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"not": part}, inner),
    ),
    max_leaves=4,
)
values = st.one_of(scalars, st.none(), st.lists(numbers, max_size=2))
objects = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), st.one_of(values, st.dictionaries(st.just("b"), values)), max_size=3
)


@given(conditions, objects)
def test_sql_says_what_the_rule_says(condition, metadata):
    try:
        parsed = parse_filter(condition)
    except InvalidArgumentError:
        return  # nested too deep by chance
    clause, bound = filter_to_sql(parsed)
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE TABLE items (metadata TEXT)")
        connection.execute("INSERT INTO items VALUES (?)", (json.dumps(metadata, ensure_ascii=False),))
        [answer] = connection.execute(f"SELECT {clause} FROM items", bound).fetchone()
    finally:
        connection.close()
    assert answer in (0, 1)
    assert bool(answer) == holds(condition, metadata)


def holds(condition, metadata):
    """The rule, written down anew over plain JSON."""
    return all(member_holds(key, value, metadata) for key, value in condition.items())


def member_holds(key, value, metadata):
    if key == "and":
        return all(holds(part, metadata) for part in value)
    if key == "or":
        return any(holds(part, metadata) for part in value)
    if key == "not":
        return not holds(value, metadata)
    there = look_up(key, metadata)
    operators = value if isinstance(value, dict) else {"eq": value}
    return all(operator_holds(word, there, operand) for word, operand in operators.items())


def look_up(key, metadata):
    for part in key.split("."):
        metadata = metadata.get(part) if isinstance(metadata, dict) else None
    return metadata


def operator_holds(word, there, operand):
    if word == "exists":
        return (there is not None) == operand
    if word == "in":
        return any(same(there, one) for one in operand)
    if word in ("eq", "ne"):
        equal = there is None if operand is None else same(there, operand)
        return equal == (word == "eq")
    if kind(there) is None or kind(there) != kind(operand) or isinstance(operand, bool):
        return False
    return {"lt": there < operand, "lte": there <= operand, "gt": there > operand, "gte": there >= operand}[word]


def same(there, operand):
    return kind(there) is not None and kind(there) == kind(operand) and there == operand


def kind(value):
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else None
