"""Transfers: which phase may follow which, and when the next try comes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.transfers import LEGAL, Phase, RetryPolicy, State

Q, F, V, S, E = Phase.QUEUED, Phase.FETCHING, Phase.VERIFYING, Phase.STORING, Phase.ENDED
FORWARD = {(Q, F), (F, V), (V, S), (S, E)}
RETRY = {(F, Q), (V, Q), (S, Q)}
BEGIN_AGAIN = {(F, F), (V, F), (S, F), (S, S)}  # the object changed at the origin; taken over after a crash
FAIL = {(Q, E), (F, E), (V, E), (S, E)}


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Phase, Phase)))
def test_legal_transitions(before: Phase, after: Phase) -> None:
    assert (after in LEGAL[before]) == ((before, after) in FORWARD | RETRY | BEGIN_AGAIN | FAIL)


def test_nothing_is_stored_that_was_not_verified() -> None:
    assert {before for before in Phase if S in LEGAL[before]} == {V, S}


def test_the_wire_words() -> None:
    assert [state.value for state in State] == ["inprogress", "success", "fail"]
    assert [phase.value for phase in Phase] == ["queued", "fetching", "verifying", "storing", "ended"]


SECONDS = st.floats(0.001, 1000)
CHANCES = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 5000), SECONDS, SECONDS, st.integers(1, 5000), CHANCES)
def test_the_delay_lies_in_the_upper_half_of_its_bound(
    attempts: int, base: float, cap: float, attempt: int, chance: float
) -> None:
    delay = RetryPolicy(attempts, base, cap).delay(attempt, chance)
    if attempt >= attempts:
        assert delay is None
        return
    bound = min(cap, base * 2.0 ** min(attempt - 1, 64))
    assert delay is not None
    assert bound / 2 <= delay <= bound


@given(st.integers(1, 7), CHANCES, st.floats(allow_nan=False))
def test_retry_after_is_a_lower_bound_of_at_most_an_hour(attempt: int, chance: float, retry_after: float) -> None:
    policy = RetryPolicy()
    plain, asked = policy.delay(attempt, chance), policy.delay(attempt, chance, retry_after)
    assert plain is not None
    assert asked == max(plain, min(retry_after, 3600.0))
    assert asked <= 3600.0


@given(CHANCES)
def test_delays_never_shrink_from_one_bound_to_the_next(chance: float) -> None:
    delays = [RetryPolicy().delay(attempt, chance) for attempt in range(1, 8)]
    assert None not in delays
    assert delays == sorted(delays, key=lambda delay: delay or 0.0)


def test_tries_are_counted() -> None:
    policy = RetryPolicy(attempts=3, base=1.0, cap=60.0)
    assert [policy.delay(attempt, 0.5) for attempt in (1, 2, 3, 4)] == [0.75, 1.5, None, None]
    assert RetryPolicy(attempts=1).delay(1, 0.0, retry_after=5.0) is None
