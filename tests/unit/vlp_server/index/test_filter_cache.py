import numpy as np
from vlp_server.index.filter_cache import FilterCache
from vlp_server.index.filters import parse_filter


class Table:
    """Ids that match everything, and what was asked of it."""

    def __init__(self, *ids):
        self.ids = list(ids)
        self.asked = []

    def match(self, condition, after):
        self.asked.append(after)
        return np.array([one for one in self.ids if one > after], np.int64)


CONDITION = parse_filter({"a": 1})


def test_only_newer_ids_are_looked_at():
    table = Table(1, 3)
    cache = FilterCache(1 << 20, table.match)
    assert cache.allowed(CONDITION, 4).ids.tolist() == [1, 3]
    assert cache.allowed(CONDITION, 4).ids.tolist() == [1, 3]
    table.ids += [6]
    assert cache.allowed(CONDITION, 7).ids.tolist() == [1, 3, 6]
    assert table.asked == [0, 4]


def test_where_the_database_is_ahead_of_the_index_nothing_is_passed_over():
    table = Table(1, 9)
    cache = FilterCache(1 << 20, table.match)
    assert cache.allowed(CONDITION, 4).through == 9
    table.ids += [10]
    assert cache.allowed(CONDITION, 9).ids.tolist() == [1, 9]
    assert cache.allowed(CONDITION, 10).ids.tolist() == [1, 9, 10]
    assert table.asked == [0, 9]


class Index:
    """As much of a built index as masks need."""

    def __init__(self, *ids):
        self.ids = np.array(ids)
        self.through = ids[-1]

    def mask_of(self, allowed):
        return np.isin(self.ids, allowed)


def test_a_mask_is_kept_for_an_index_of_older_ids_only():
    table = Table(1, 3)
    cache = FilterCache(1 << 20, table.match)
    older, newer = Index(1, 2, 3), Index(1, 2, 3, 4, 5)
    entry = cache.allowed(CONDITION, 3)
    mask = entry.mask_for(older)
    assert mask.tolist() == [True, False, True]
    table.ids += [5]
    entry = cache.allowed(CONDITION, 5)
    assert entry.mask_for(older) is mask
    assert entry.mask_for(newer).tolist() == [True, False, True, False, True]
    # An index may be built between the look at the filter and the search.
    table.ids += [8]
    entry, newest = cache.allowed(CONDITION, 5), Index(1, 3, 5, 8)
    assert entry.mask_for(newest).tolist() == [True, True, True, False]
    assert cache.allowed(CONDITION, 8).mask_for(newest).tolist() == [True, True, True, True]


def test_filters_that_are_equal_in_python_but_not_in_meaning_are_kept_apart():
    cache = FilterCache(1 << 20, Table(1).match)
    first = cache.allowed(parse_filter({"a": 1}), 1)
    assert cache.allowed(parse_filter({"a": True}), 1) is not first
    assert cache.allowed(parse_filter({"a": 1.0}), 1) is not first
    assert cache.allowed(parse_filter({"a": 1}), 1) is first


def test_the_least_recently_used_goes_first():
    table = Table(*range(1, 1000))
    cache = FilterCache(25_000, table.match)
    conditions = [parse_filter({"a": n}) for n in range(4)]
    for condition in conditions[:2]:
        cache.allowed(condition, 1000)
    cache.allowed(conditions[0], 1000)
    cache.allowed(conditions[2], 1000)
    asked = len(table.asked)
    cache.allowed(conditions[0], 1000)
    assert len(table.asked) == asked
    cache.allowed(conditions[1], 1000)
    assert len(table.asked) == asked + 1


def test_no_memory_means_nothing_is_remembered():
    table = Table(1)
    cache = FilterCache(0, table.match)
    for _ in range(2):
        assert cache.allowed(CONDITION, 1).ids.tolist() == [1]
    assert table.asked == [0, 0]
