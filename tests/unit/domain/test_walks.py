"""Sums over what was found and what is recorded: they differ where something is missing, and nowhere else."""

from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.walks import Sums, mends_on

KEYS = st.dictionaries(st.text(max_size=20), st.text(max_size=5), max_size=60)


def added(found: dict[str, str], recorded: dict[str, str], keys: int = 0) -> Sums:
    sums = Sums(keys)
    for key, identity in found.items():
        sums.found(key, identity)
    for key, identity in recorded.items():
        sums.recorded(key, identity)
    return sums


@given(KEYS)
def test_what_is_the_same_has_equal_sums_in_any_order(keys: dict[str, str]) -> None:
    sums = added(keys, dict(reversed(keys.items())))
    assert sums.all_equal()
    assert not any(sums.differ(key) for key in keys)


@given(KEYS, st.data())
def test_a_record_that_was_not_found_is_looked_at(keys: dict[str, str], data: st.DataObject) -> None:
    lost = data.draw(st.sets(st.sampled_from(sorted(keys)))) if keys else set()
    sums = added({key: identity for key, identity in keys.items() if key not in lost}, keys, keys=1000)
    assert all(sums.differ(key) for key in lost)
    assert sums.all_equal() is not bool(lost)


@given(KEYS, KEYS)
def test_kept_sums_go_on(first: dict[str, str], second: dict[str, str]) -> None:
    sums = Sums.of(bytes(added(first, {}, keys=5000)))
    for key, identity in second.items():
        sums.recorded(key, identity)
    assert bytes(sums) == bytes(added(first, second, keys=5000))
    sums.forget_recorded()
    assert bytes(sums) == bytes(added(first, {}, keys=5000))


def test_another_version_is_another_sum_and_a_version_found_twice_only_costs_a_look() -> None:
    assert added({"k": "v1"}, {"k": "v2"}).differ("k")
    sums = added({"k": "v1"}, {"k": "v1"})
    sums.found("k", "v1")
    assert sums.differ("k")


def test_a_walk_mends_until_too_much_is_gone() -> None:
    assert mends_on({}, 0)
    assert mends_on({"damaged": 50, "refilled": 49, "adopted": 500, "removed": 500}, 10)
    assert not mends_on({"damaged": 50, "refilled": 25, "refetched": 25}, 10)
    assert mends_on({"refilled": 499}, 10_000)
    assert not mends_on({"refilled": 500}, 10_000)


def test_memory_is_bounded_whatever_the_number_of_keys() -> None:
    sizes = [len(bytes(Sums(keys))) for keys in (0, 1000, 10**6, 10**8, 10**10)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 256
    assert sizes[-1] == 4 << 20
