"""The rule of `vlp_server.index.filters` as a table: which items a condition matches, in both stores."""

import numpy as np
from vector_items import spec_of
from vlp_server.index.filters import parse_filter
from vlp_server.index.store import NewItem, SearchQuery

METADATA = {
    "three": {"size": 3, "kind": "disc", "shiny": True},
    "three-and-a-bit": {"size": 3.5, "kind": "ring", "shiny": False},
    "three-as-float": {"size": 3.0, "kind": "Disc"},
    "text": {"size": "3", "kind": ""},
    "flag": {"size": True, "kind": 'say "hi" \\ \' % _ ä 😀'},
    "null": {"size": None, "kind": None},
    "list": {"size": [3], "kind": ["disc"]},
    "object": {"size": {"value": 3}, "kind": {"disc": True}},
    "lacking": {},
    "nested": {"camera": {"lens": {"mm": 50}, "maker": "x"}},
    "negative": {"size": -1, "tenth": 0.1, "large": 2**53 + 1},
    "odd-names": {"$.size": 1, "a b": 1, "size'": 1, "ä": 1, "and": 1, "0": 1},
}
ALL = set(METADATA)
NUMBERS = {"three", "three-and-a-bit", "three-as-float", "negative"}
THERE = NUMBERS | {"text", "flag", "list", "object"}

RULES = [
    ({"size": 3}, {"three", "three-as-float"}),
    ({"size": 3.0}, {"three", "three-as-float"}),
    ({"size": "3"}, {"text"}),
    ({"size": True}, {"flag"}),
    ({"size": 1}, set()),
    ({"shiny": False}, {"three-and-a-bit"}),
    ({"shiny": 0}, set()),
    ({"kind": "disc"}, {"three"}),
    ({"kind": ""}, {"text"}),
    ({"kind": 'say "hi" \\ \' % _ ä 😀'}, {"flag"}),
    ({"kind": "%"}, set()),
    ({"size": {"eq": 3}}, {"three", "three-as-float"}),
    ({"size": {"ne": 3}}, ALL - {"three", "three-as-float"}),
    ({"size": {"lt": 3}}, {"negative"}),
    ({"size": {"lte": 3}}, {"negative", "three", "three-as-float"}),
    ({"size": {"gt": 3}}, {"three-and-a-bit"}),
    ({"size": {"gte": 3}}, {"three", "three-as-float", "three-and-a-bit"}),
    ({"size": {"gt": -1, "lt": 3.5}}, {"three", "three-as-float"}),
    ({"not": {"size": {"lt": 3}}}, ALL - {"negative"}),
    ({"size": {"gt": "2"}}, {"text"}),
    ({"kind": {"lt": "d"}}, {"three-as-float", "text"}),
    ({"size": {"in": [3, "3", True]}}, {"three", "three-as-float", "text", "flag"}),
    ({"size": {"in": [4]}}, set()),
    ({"size": {"exists": True}}, THERE),
    ({"size": {"exists": False}}, ALL - THERE),
    ({"size": None}, ALL - THERE),
    ({"size": {"ne": None}}, THERE),
    ({"camera.lens.mm": {"gte": 50}}, {"nested"}),
    ({"camera.lens": {"exists": True}}, {"nested"}),
    ({"camera": "x"}, set()),
    ({"size.value": 3}, {"object"}),
    ({"tenth": 0.1}, {"negative"}),
    ({"tenth": {"lt": 0.1}}, set()),
    ({"large": 2**53 + 1}, {"negative"}),
    ({"a b": 1}, {"odd-names"}),
    ({"size'": 1}, {"odd-names"}),
    ({"ä": 1}, {"odd-names"}),
    ({"0": 1}, {"odd-names"}),
    ({"and": [{"size": 3}, {"kind": "disc"}]}, {"three"}),
    ({"size": 3, "kind": "disc"}, {"three"}),
    ({"or": [{"kind": "disc"}, {"kind": "ring"}]}, {"three", "three-and-a-bit"}),
    ({"not": {"or": [{"size": {"exists": True}}, {"camera": {"exists": True}}]}}, {"null", "lacking", "odd-names"}),
    ({"not": {"not": {"size": 3}}}, {"three", "three-as-float"}),
    ({"not": {"and": [{"size": 3}, {"kind": "disc"}]}}, ALL - {"three"}),
    ({"no'; DROP TABLE items; --": 1}, set()),
]


def test_the_rule_holds(store):
    store.create(spec_of(dimension=2))
    vector = np.array([1, 0], np.float32)
    results = store.upsert(
        "pictures", [NewItem(id=name, vector=vector, metadata=metadata) for name, metadata in METADATA.items()]
    )
    assert all(result.status == "created" for result in results)
    wrong = []
    for condition, expected in RULES:
        hits = store.search("pictures", SearchQuery(vector=vector, k=50, filter=parse_filter(condition)))
        found = {hit.id for hit in hits}
        if found != expected:
            wrong.append((condition, "extra", found - expected, "lacks", expected - found))
    assert not wrong


def test_the_largest_filters_are_taken(store):
    store.create(spec_of(dimension=2))
    vector = np.array([1, 0], np.float32)
    store.upsert("pictures", [NewItem(id=str(n), vector=vector, metadata={"n": n}) for n in range(10)])
    deep = {"n": {"in": [3, *range(100, 355)]}}
    for _ in range(7):
        deep = {"not": deep}
    wide = {"or": [{"n": n} for n in range(5, 68)]}
    for condition, expected in ((deep, set("012456789")), (wide, set("56789"))):
        hits = store.search("pictures", SearchQuery(vector=vector, k=50, filter=parse_filter(condition)))
        assert {hit.id for hit in hits} == expected
