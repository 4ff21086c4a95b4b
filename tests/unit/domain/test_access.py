"""Access: every role, narrowed or not, with every action on one's own things, a stranger's and the service's."""

import itertools

import pytest

from cephstorage.domain.access import Action, Principal, Role
from cephstorage.domain.errors import AccessDenied

READ, WRITE, ADMINISTER = Action.READ, Action.WRITE, Action.ADMINISTER
OWN, OTHER, SERVICE = "alice", "bob", None

# What each holder may do; whatever is not listed is refused.
MATRIX: dict[tuple[Role, str | None], set[tuple[Action, str | None]]] = {
    (Role.ADMIN, None): set(itertools.product(Action, (OWN, OTHER, SERVICE))),
    (Role.ADMIN, "alice"): set(itertools.product(Action, (OWN, OTHER, SERVICE))),
    (Role.TENANT, "alice"): {(READ, OWN), (WRITE, OWN)},
    (Role.TENANT, None): {(READ, OWN), (WRITE, OWN), (READ, OTHER), (WRITE, OTHER), (READ, SERVICE)},
    (Role.READ_ONLY, "alice"): {(READ, OWN)},
    (Role.READ_ONLY, None): {(READ, OWN), (READ, OTHER), (READ, SERVICE)},
}
CASES = list(itertools.product(Role, ("alice", None), Action, (OWN, OTHER, SERVICE)))


@pytest.mark.parametrize(("role", "holder", "action", "whose"), CASES)
def test_matrix(role: Role, holder: str | None, action: Action, whose: str | None) -> None:
    principal = Principal("id", role, holder)
    allowed = (action, whose) in MATRIX[role, holder]
    assert principal.may(action, whose) == allowed
    if allowed:
        principal.require(action, whose)
    else:
        with pytest.raises(AccessDenied, match=role.value):
            principal.require(action, whose)


def test_the_refusal_says_what_and_whose() -> None:
    with pytest.raises(AccessDenied, match="may not write the things of 'bob'"):
        Principal("id", Role.TENANT, "alice").require(WRITE, "bob")
    with pytest.raises(AccessDenied, match="may not administer this"):
        Principal("id", Role.TENANT, "alice").require(ADMINISTER)


def test_a_name_that_only_begins_alike_is_a_strangers() -> None:
    principal = Principal("id", Role.TENANT, "alice")
    assert not any(principal.may(READ, name) for name in ("alic", "alice2", "Alice", ""))
