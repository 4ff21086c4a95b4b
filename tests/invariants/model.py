"""What may be visible now: a pure account of what was asked for, answered, and is still under way.

A state of a key is the md5 of its bytes, or ABSENT. What was answered fixes the state; what is under way may take effect
at any moment, in any order, until it is known to have ended. A key whose time is over is ABSENT, swept or not.
"""

from dataclasses import dataclass, field

from tests.invariants.room import Room
from tests.invariants.trash import Trash

ABSENT = None
State = str | None


@dataclass
class Creation:
    """A creation from a URL. ``state``: what it makes of the key; ``succeeds``: how it has to end, None for either.

    ``bounded``: a quota held while it was under way, so that it may not have fitted.
    """

    key: str
    token: str
    order: dict[str, str]
    idempotency_key: str
    state: str
    succeeds: bool | None
    bounded: bool = False
    ended: dict[str, object] | None = None


@dataclass
class Model:
    """One bucket. ``uncertain``: writes whose answer was lost; they take effect before all transfers have ended, or never.

    ``renames``: those of the last deed whose answer was lost: source, key, and what they are about.
    ``fills``: what a mirror may yet make of keys that are absent. ``mirrored``: keys with the bytes of its copies.
    ``short_lived``: keys that a rule ends as soon as they are stored; ``ending``: keys for which one did so lately.
    ``swept``: keys that are being deleted in the background.
    """

    settled: dict[str, set[State]]
    creations: dict[str, Creation] = field(default_factory=dict)
    uncertain: list[tuple[str, State]] = field(default_factory=list)
    renames: list[tuple[str, str, State]] = field(default_factory=list)
    fills: dict[str, set[State]] = field(default_factory=dict)
    mirrored: set[tuple[str, State]] = field(default_factory=set)
    short_lived: set[str] = field(default_factory=set)
    ending: set[str] = field(default_factory=set)
    swept: set[str] = field(default_factory=set)
    room: Room = field(default_factory=Room)
    trash: Trash = field(default_factory=Trash)

    def allowed(self, key: str) -> set[State]:
        """Every state in which the key may be found. A fill never replaces what is there."""
        under_way = {each.state for each in self.creations.values() if each.key == key and not each.ended}
        states = self.settled[key] | under_way | {state for name, state in self.uncertain if name == key}
        if key in self.ending:
            states.add(ABSENT)
        return states | self.fills.get(key, set()) if ABSENT in states else states

    def written(self, key: str, state: State) -> None:
        """The key was brought into this state, and whoever asked was told so."""
        self._left(key, self.trash.overwritten)
        self.settled[key] = {ABSENT if key in self.short_lived else state}

    def deleted(self, key: str) -> None:
        """The key was deleted, and whoever asked was told so."""
        self._left(key, self.trash.deleted)
        self.settled[key] = {ABSENT}

    def moved(self, key: str) -> None:
        """The key has another name, and whoever asked was told so."""
        self._left(key, False)
        self.settled[key] = {ABSENT}

    def _left(self, key: str, keeps: bool) -> None:
        """What the key was may lie in the trash, or does for certain. A mirror's copies are not kept."""
        before = self.allowed(key)
        certain = self.at_rest(key) and len(before) == 1 and not any((key, each) in self.mirrored for each in before)
        if keeps or not certain:
            self.trash.left(key, before, kept=certain)

    def possible(self, key: str, state: State) -> None:
        """The key may be in this state by now, but in none later that is not accounted for otherwise."""
        self.trash.left(key, self.allowed(key), kept=False)
        self.settled[key].add(state)

    def deleting(self, key: str) -> None:
        """What the key is now may be deleted in the background; what comes later will not be."""
        self.possible(key, ABSENT)
        self.swept.add(key)

    def lost(self, key: str, state: State) -> None:
        """The answer to a write was lost: it may have taken effect, or may still."""
        self.uncertain.append((key, state))

    def renaming(self, source: str, key: str) -> None:
        """The answer to a rename was lost: each of the names may have what the source had, or may still get it."""
        before = self.allowed(source)
        known = len(before) == 1 and ABSENT not in before and self.at_rest(key) and not before & self.allowed(key)
        if known and not {source, key} & self.ending:
            self.renames += [(source, key, state) for state in before]
        for state in before - {ABSENT}:
            self.lost(key, state)
        self.lost(source, ABSENT)

    def torn(self, found: dict[str, State]) -> list[tuple[str, str, State]]:
        """The renames whose answers were lost just now and of which half is seen: both names have it, or neither has."""
        pending, self.renames = self.renames, []
        return [each for each in pending if (found.get(each[0]) == each[2]) == (found.get(each[1]) == each[2])]

    def filling(self, key: str, state: State) -> None:
        """A mirror has been asked for the key: it may store what its origin has, as long as the key is absent."""
        self.fills.setdefault(key, set()).add(state)
        self.mirrored.add((key, state))

    def rule(self, keys: set[str], found: dict[str, State]) -> None:
        """These keys, and no others, end as soon as they are stored. ``found``: what has not been swept may come back."""
        for key in keys ^ self.short_lived:
            self.settled[key] |= {ABSENT, found.get(key)}
        self.short_lived, self.ending = keys, self.ending | keys

    def ended(self, token: str, progress: dict[str, object]) -> None:
        """A creation has ended as its progress says."""
        creation = self.creations[token]
        if creation.ended is None and progress["state"] == "success":
            self.settled[creation.key].add(creation.state)
        creation.ended = progress

    def quiet(self) -> None:
        """No transfer is in progress: what is uncertain has taken effect or never will."""
        for key in self.settled:
            self.settled[key] = self.allowed(key)
        self.uncertain.clear()
        self.fills.clear()

    def deletions_ended(self) -> None:
        """No deletion in the background is in progress."""
        self.swept.clear()

    def moving(self) -> None:
        """Of keys for which something is under way, whatever they may be may be in the trash by now."""
        for key in self.settled:
            if not self.at_rest(key):
                self.trash.left(key, self.allowed(key), kept=False)

    def seen(self, key: str, state: State) -> None:
        """The key was found in this state while nothing was under way for it."""
        self.settled[key] = {state}
        if key not in self.short_lived:
            self.ending.discard(key)

    def at_rest(self, key: str) -> bool:
        """Whether nothing is under way for the key."""
        moving = {each.key for each in self.creations.values() if not each.ended} | self.fills.keys() | self.swept
        return key not in moving | {name for name, _ in self.uncertain}
