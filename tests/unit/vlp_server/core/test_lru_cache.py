from hypothesis import given
from hypothesis import strategies as st
from vlp_server.core.lru_cache import LruCache


def test_forgets_what_was_not_used_for_longest():
    cache = LruCache(2, 100)
    cache.put("a", 1, 10)
    cache.put("b", 2, 10)
    assert cache.get("a") == 1
    cache.put("c", 3, 10)
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (1, None, 3)


def test_bytes_bound_it_too_and_replacing_frees():
    cache = LruCache(10, 100)
    cache.put("a", 1, 60)
    cache.put("a", 2, 50)
    cache.put("b", 3, 50)
    assert (cache.get("a"), cache.get("b"), cache.size_bytes) == (2, 3, 100)
    cache.put("c", 4, 1)
    assert cache.get("a") is None


def test_a_value_larger_than_the_cache_pushes_nothing_out():
    cache = LruCache(10, 100)
    cache.put("a", 1, 60)
    cache.put("b", 2, 101)
    assert (cache.get("a"), cache.get("b")) == (1, None)


def test_zero_switches_it_off():
    for cache in (LruCache(0, 100), LruCache(10, 0)):
        cache.put("a", 1, 0)
        assert not cache.enabled
        assert cache.get("a") is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=50))
def test_bounds_hold_and_the_count_of_bytes_is_true(puts):
    cache = LruCache(4, 100)
    for key, size in puts:
        cache.put(key, size, size)
        kept = [cache.get(k) for k in range(10)]
        assert len(cache) <= 4
        assert cache.size_bytes == sum(value for value in kept if value is not None) <= 100


def test_unwanted_keys_are_dropped_with_their_bytes():
    cache = LruCache(10, 100)
    for number in range(4):
        cache.put(("a", number % 2, number), number, 10)
    assert cache.drop(lambda key: key[1] == 1) == 2
    assert (len(cache), cache.size_bytes) == (2, 20)
    assert cache.get(("a", 1, 1)) is None
    assert cache.get(("a", 0, 2)) == 2
    assert cache.drop(lambda key: key[1] == 1) == 0
