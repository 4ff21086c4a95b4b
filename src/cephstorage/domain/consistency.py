"""Whether index and store agree about a key: a judgement over what both show of it, without I/O.

The index says what is visible; the store shows versions, newest first, and marks of deletion that its own clients have
laid over them. What somebody works on, and what is younger than a grace, is left alone.

    named by the record ────────── size and ETag agree? ── FINE, else DIFFERS; not there at all: MISSING
    planned, or to be removed ──── PASSING
    above what the record names ── another client's: UNKNOWN; a mark of deletion: HIDDEN
    all else that nobody names ─── LEFTOVER
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cephstorage.domain.records import Record, attempt_of

_MD5 = re.compile(r"[0-9a-f]{32}")
_LATEST_TRY = 600.0
"""Seconds for which a try whose answer was lost may still store something. What bears our metadata and came later is a
copy that a client made: of a key, to its old name, from a backup."""

_CLOCKS = 60.0
"""Seconds by which the store's clock and ours may differ."""


class Verdict(StrEnum):
    """What is to be thought of a key.

    ``fine``: index and store agree. ``young``: they don't, but nothing is old enough to be judged. ``passing``: somebody
    works on it. ``missing``: the store lacks the version that the record names. ``differs``: it has another size or
    md5 there. ``unknown``: the store's clients get a version that no record names. ``hidden``: a client of the store
    has deleted the key there. ``leftover``: all is well but for versions that nobody names.
    """

    FINE = "fine"
    YOUNG = "young"
    PASSING = "passing"
    MISSING = "missing"
    DIFFERS = "differs"
    UNKNOWN = "unknown"
    HIDDEN = "hidden"
    LEFTOVER = "leftover"


class Policy(StrEnum):
    """What is done about what other clients do to the store.

    ``adopt``: the index follows them. ``quarantine``: what they store is hidden from them and kept. ``report``: nothing.
    """

    ADOPT = "adopt"
    QUARANTINE = "quarantine"
    REPORT = "report"


@dataclass(frozen=True, slots=True)
class Seen:
    """A version of a key as the store lists it, or a mark of its deletion; ``written_at`` in epoch seconds.

    ``identity`` is how the store tells versions of a key apart (see ``identity_of``). ``etag`` is empty where there is
    none. The rest is known once it has been looked at: ``store_version`` is its whole name; ``foreign``: another client
    stored it; ``mirrored``: it is the copy of a mirror.
    """

    key: str
    identity: str
    size: int = 0
    etag: str = ""
    written_at: float = 0.0
    newest: bool = True
    marker: bool = False
    store_version: str = ""
    foreign: bool = False
    mirrored: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What the index knows of a key.

    ``leaving``: versions that wait for their removal, by their names; ``kept``: versions named by something else than the
    record; ``coming``: attempts that are being stored; ``ended``: transfers to this very key that have ended, of those that
    were asked for, and when. ``since``: when the index began to know the bucket; what other clients wrote before is its
    history, not ours to remove. Times in epoch seconds.
    """

    record: Record | None = None
    leaving: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    coming: frozenset[str] = frozenset()
    ended: Mapping[str, float] = field(default_factory=dict)
    since: float = 0.0

    def names(self, seen: Seen) -> bool:
        """Whether the record names this version.

        ``null`` is what a bucket without versions calls whatever lies there: then the attempts must agree, too.
        """
        if self.record is None or identity_of(self.record.store_version) != seen.identity:
            return False
        same = attempt_of(self.record.store_version) == attempt_of(seen.store_version)
        return same or seen.identity != "null" or not seen.store_version

    def tends(self, seen: Seen) -> bool:
        """Whether something else but the record speaks of this version."""
        named = {*self.leaving, *self.kept}
        attempts = self.coming | {attempt_of(name) for name in named if is_attempt(name)}
        return seen.identity in {identity_of(name) for name in named} or attempt_of(seen.store_version) in attempts


@dataclass(frozen=True, slots=True)
class Graces:
    """Seconds for which what nobody names is left alone: what other clients stored, and all else."""

    foreign: float
    ours: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict; the version that it is about, if that is one; whether that may become visible; what may be removed."""

    verdict: Verdict
    version: Seen | None = None
    adoptable: bool = False
    leftovers: tuple[Seen, ...] = ()


def identity_of(store_version: str) -> str:
    """What the store calls a version that is there: what stands behind ``#`` in its name, else all of it."""
    return store_version.partition("#")[2] or store_version


def is_attempt(store_version: str) -> bool:
    """Whether a name speaks of whatever an attempt may have left, and not of one version."""
    return "/" in identity_of(store_version) or "#" not in store_version


def transfer_of(store_version: str) -> str:
    """The transfer whose attempt made a version."""
    return attempt_of(store_version).rpartition(".")[0]


def agrees(record: Record, seen: Seen) -> bool:
    """Whether a version has the record's size and, where its ETag is an md5, that."""
    return seen.size == record.size and (not _MD5.fullmatch(seen.etag) or seen.etag == record.md5)


def suspicious(known: Known, seen: Seen, now: float, graces: Graces) -> bool:
    """Whether a version of a listing has to be looked at: neither named and whole, nor tended, nor too young."""
    if seen.marker:
        return seen.newest and known.record is not None
    if known.record is not None and known.names(seen):
        return not agrees(known.record, seen)
    return not known.tends(seen) and now - seen.written_at >= min(graces.foreign, graces.ours)


def judge(
    known: Known, versions: Sequence[Seen], now: float, graces: Graces, policy: Policy, *, hinted: bool = False
) -> Judgement:
    """Judge a key by all that the store has of it, newest first. ``hinted``: somebody said that a client changed it."""
    case = _Case(known, tuple(versions), now, graces, policy, hinted=hinted)
    found, leftovers = case.main(), case.leftovers()
    if known.coming and found.verdict not in {Verdict.FINE, Verdict.YOUNG}:
        return Judgement(Verdict.PASSING)
    leftovers = tuple(each for each in leftovers if each != found.version)
    verdict = Verdict.LEFTOVER if found.verdict is Verdict.FINE and leftovers else found.verdict
    return Judgement(verdict, found.version, found.adoptable, leftovers)


class _Case:
    """One judgement. ``top`` is what the store's clients get, leaving aside what our own transfers have left behind."""

    def __init__(
        self,
        known: Known,
        versions: tuple[Seen, ...],
        now: float,
        graces: Graces,
        policy: Policy,
        *,
        hinted: bool,
    ) -> None:
        self.known, self.now, self.graces, self.policy, self.hinted = known, now, graces, policy, hinted
        self.versions = tuple(each for each in versions if each.marker or known.names(each) or not known.tends(each))
        self.named = next((each for each in versions if not each.marker and known.names(each)), None)
        counting = (each for each in self.versions if each.marker or each is self.named or not self._our_own(each))
        self.top = next(counting, None)

    def _our_own(self, seen: Seen) -> bool:
        """Whether a version comes from a transfer to this key that did not publish it.

        Not everything that bears our metadata does: clients copy objects with all that is written on them.
        """
        record, transfer = self.known.record, transfer_of(seen.store_version)
        if seen.foreign:
            return False
        if record is not None and transfer_of(record.store_version) == transfer:
            return self.named is None or seen.written_at <= self.named.written_at + _LATEST_TRY
        ended_at = self.known.ended.get(transfer)
        if ended_at is not None:
            return seen.written_at <= ended_at + _LATEST_TRY
        return seen.mirrored and self.named is not None and record is not None and record.origin is not None

    def main(self) -> Judgement:
        """The verdict on the key, whatever else lies there."""
        record, top, follows = self.known.record, self.top, self.policy is Policy.ADOPT
        lost = record is not None and self.named is None
        if top is None or (lost and not follows):
            return self._missing()
        if top.marker:
            return self._aged(Verdict.HIDDEN, top) if record is not None else Judgement(Verdict.FINE)
        if record is not None and top is self.named:
            return Judgement(Verdict.FINE if agrees(record, top) else Verdict.DIFFERS, top)
        return self._aged(Verdict.UNKNOWN, top)

    def _missing(self) -> Judgement:
        return Judgement(Verdict.MISSING if self.known.record is not None else Verdict.FINE)

    def _aged(self, verdict: Verdict, seen: Seen) -> Judgement:
        """The verdict, if the version is old enough for it."""
        if not self._is_old(seen):
            return Judgement(Verdict.YOUNG, seen)
        others = seen.foreign or seen.marker or self.hinted
        sure = others or self.known.record is None or self.named is None
        sure = sure and not (seen.marker and self._restored_since(seen))
        return Judgement(verdict, seen, adoptable=sure and self.policy is Policy.ADOPT)

    def _restored_since(self, seen: Seen) -> bool:
        """Whether a version became visible after it was hidden: somebody has taken it out of the trash."""
        record = self.known.record
        return record is not None and record.origin is None and record.validated_at > seen.written_at + _CLOCKS

    def _is_old(self, seen: Seen) -> bool:
        others = seen.foreign or seen.marker or self.hinted
        return self.now - seen.written_at >= (self.graces.foreign if others else self.graces.ours)

    def leftovers(self) -> tuple[Seen, ...]:
        """What may go. While a record's bytes are missing nothing does: it may be all that is left of the key."""
        if self.known.record is not None and self.named is None:
            return ()
        return tuple(each for each in self.versions if not each.marker and self._is_leftover(each))

    def _is_leftover(self, seen: Seen) -> bool:
        if seen is self.named or self.now - seen.written_at < self.graces.ours:
            return False
        if self._our_own(seen):
            return True
        return self.policy is Policy.ADOPT and seen is not self.top and seen.written_at >= self.known.since
