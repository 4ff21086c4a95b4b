"""What may be visible now: a pure account of what was asked for, answered, and is still under way.

A state of a key is the md5 of its bytes, or ABSENT. What was answered fixes the state; what is under way may take effect
at any moment, in any order, until it is known to have ended.
"""

from dataclasses import dataclass, field

ABSENT = None
State = str | None


@dataclass
class Creation:
    """A creation from a URL. ``state``: what it makes of the key; ``succeeds``: how it has to end, None for either."""

    key: str
    token: str
    order: dict[str, str]
    idempotency_key: str
    state: str
    succeeds: bool | None
    ended: dict[str, object] | None = None


@dataclass
class Model:
    """One bucket. ``uncertain``: writes whose answer was lost; they take effect before all transfers have ended, or never.

    ``renames``: those of the last deed whose answer was lost: source, key, and what they are about.
    """

    settled: dict[str, set[State]]
    creations: dict[str, Creation] = field(default_factory=dict)
    uncertain: list[tuple[str, State]] = field(default_factory=list)
    renames: list[tuple[str, str, State]] = field(default_factory=list)

    def allowed(self, key: str) -> set[State]:
        """Every state in which the key may be found."""
        under_way = {each.state for each in self.creations.values() if each.key == key and not each.ended}
        return self.settled[key] | under_way | {state for name, state in self.uncertain if name == key}

    def answered(self, key: str, state: State) -> None:
        """The key was brought into this state, and whoever asked was told so."""
        self.settled[key] = {state}

    def possible(self, key: str, state: State) -> None:
        """The key may be in this state by now, but in none later that is not accounted for otherwise."""
        self.settled[key].add(state)

    def lost(self, key: str, state: State) -> None:
        """The answer to a write was lost: it may have taken effect, or may still."""
        self.uncertain.append((key, state))

    def renaming(self, source: str, key: str) -> None:
        """The answer to a rename was lost: each of the names may have what the source had, or may still get it."""
        before = self.allowed(source)
        if len(before) == 1 and ABSENT not in before and self.at_rest(key) and not before & self.allowed(key):
            self.renames += [(source, key, state) for state in before]
        for state in before - {ABSENT}:
            self.lost(key, state)
        self.lost(source, ABSENT)

    def torn(self, found: dict[str, State]) -> list[tuple[str, str, State]]:
        """The renames whose answers were lost just now and of which half is seen: both names have it, or neither has."""
        pending, self.renames = self.renames, []
        return [each for each in pending if (found.get(each[0]) == each[2]) == (found.get(each[1]) == each[2])]

    def ended(self, token: str, progress: dict[str, object]) -> None:
        """A creation has ended as its progress says."""
        creation = self.creations[token]
        if creation.ended is None and progress["state"] == "success":
            self.settled[creation.key].add(creation.state)
        creation.ended = progress

    def quiet(self) -> None:
        """No transfer is in progress: what is uncertain has taken effect or never will."""
        for key, state in self.uncertain:
            self.settled[key].add(state)
        self.uncertain.clear()

    def seen(self, key: str, state: State) -> None:
        """The key was found in this state while nothing was under way for it."""
        self.settled[key] = {state}

    def at_rest(self, key: str) -> bool:
        """Whether nothing is under way for the key."""
        moving = {each.key for each in self.creations.values() if not each.ended}
        return key not in moving | {name for name, _ in self.uncertain}
