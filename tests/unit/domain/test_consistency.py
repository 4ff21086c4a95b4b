"""The judgement over a key: every constellation of record, versions, work under way and age."""

from dataclasses import replace

import pytest

from cephstorage.domain.consistency import (
    Graces,
    Judgement,
    Known,
    Policy,
    Seen,
    Verdict,
    identity_of,
    is_attempt,
    judge,
    suspicious,
    transfer_of,
)
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import OriginFacts, Record

NOW, GRACE = 10_000.0, 100.0
GRACES = Graces(GRACE, GRACE)
MD5, OTHER_MD5 = "a" * 32, "b" * 32
RECORD = Record(
    BucketName("alice", "photos"), "k", 5.0, MD5, "text/plain", 9, 3, None, None, "mine.1#v1", "upload", 5.0
)
NOTHING = Known()
OLD, FRESH = NOW - GRACE, NOW - GRACE + 1


def version(name: str, **fields: object) -> Seen:
    """A version by its whole name."""
    given = {"size": 9, "etag": MD5, "written_at": OLD, "newest": False, "store_version": name, **fields}
    return Seen("k", identity_of(name), **given)  # type: ignore[arg-type]


NAMED = version("mine.1#v1")
MARK = version("#m", marker=True, size=0, etag="", store_version="")
FOREIGN = version("s3.e.v8#v8", foreign=True)
FOREIGN_TOO = version("s3.e.v9#v9", foreign=True)
STALE = version("mine.0#v0")
FAILED = version("failed.1#v5")
STRANGE = version("strange.1#v6")
COPY = version("strange.1#v7", mirrored=True)
HAS = Known(RECORD)
MIRRORED = Known(replace(RECORD, origin=OriginFacts("/k")))
ENDED = Known(RECORD, ended={"failed": OLD})
ADOPT, QUARANTINE, REPORT = Policy

TABLE: dict[str, tuple[Known, list[Seen], Policy, Judgement]] = {
    "nothing anywhere": (NOTHING, [], ADOPT, Judgement(Verdict.FINE)),
    "as it should be": (HAS, [NAMED], ADOPT, Judgement(Verdict.FINE, NAMED)),
    "however young": (HAS, [replace(NAMED, written_at=NOW)], ADOPT, Judgement(Verdict.FINE, replace(NAMED, written_at=NOW))),
    "not there": (HAS, [], ADOPT, Judgement(Verdict.MISSING)),
    "not there, whatever is done about others": (HAS, [], REPORT, Judgement(Verdict.MISSING)),
    "being replaced": (replace(HAS, coming=frozenset({"next.1"})), [], ADOPT, Judgement(Verdict.PASSING)),
    "another size": (HAS, [s := replace(NAMED, size=8)], ADOPT, Judgement(Verdict.DIFFERS, s)),
    "another md5": (HAS, [s := replace(NAMED, etag=OTHER_MD5)], ADOPT, Judgement(Verdict.DIFFERS, s)),
    "an ETag of parts": (HAS, [s := replace(NAMED, etag=f"{OTHER_MD5}-2")], ADOPT, Judgement(Verdict.FINE, s)),
    "no ETag": (HAS, [s := replace(NAMED, etag="")], ADOPT, Judgement(Verdict.FINE, s)),
    "another object where no versions are": (
        Known(replace(RECORD, store_version="s3.e.null#null")),
        [s := version("s3.f.null#null", foreign=True)],
        ADOPT,
        Judgement(Verdict.UNKNOWN, s, adoptable=True),
    ),
    # Versions that nobody names
    "a second try that came late": (HAS, [STALE, NAMED], ADOPT, Judgement(Verdict.LEFTOVER, NAMED, leftovers=(STALE,))),
    "and is young": (HAS, [replace(STALE, written_at=FRESH), NAMED], ADOPT, Judgement(Verdict.FINE, NAMED)),
    "and is to be removed": (replace(HAS, leaving=frozenset({"mine.0#v0"})), [STALE, NAMED], ADOPT, Judgement(Verdict.FINE, NAMED)),
    "and with its attempt": (replace(HAS, leaving=frozenset({"mine.0#upload/u"})), [STALE, NAMED], ADOPT, Judgement(Verdict.FINE, NAMED)),
    "and with all else of an attempt": (replace(HAS, leaving=frozenset({"mine.0#besides/v1"})), [STALE, NAMED], ADOPT, Judgement(Verdict.FINE, NAMED)),
    "and is named elsewhere": (replace(HAS, kept=frozenset({"mine.0#v0"})), [STALE, NAMED], ADOPT, Judgement(Verdict.FINE, NAMED)),
    "and is being stored": (replace(HAS, coming=frozenset({"mine.0"})), [STALE, NAMED], ADOPT, Judgement(Verdict.FINE, NAMED)),
    "a failed write above": (ENDED, [FAILED, NAMED], ADOPT, Judgement(Verdict.LEFTOVER, NAMED, leftovers=(FAILED,))),
    "a failed write below": (ENDED, [NAMED, FAILED], REPORT, Judgement(Verdict.LEFTOVER, NAMED, leftovers=(FAILED,))),
    "a failed write of no key": (replace(ENDED, record=None), [FAILED], ADOPT, Judgement(Verdict.LEFTOVER, leftovers=(FAILED,))),
    "an old copy of a mirror": (MIRRORED, [COPY, NAMED], ADOPT, Judgement(Verdict.LEFTOVER, NAMED, leftovers=(COPY,))),
    "all that is left of a key": (ENDED, [FAILED, STALE], ADOPT, Judgement(Verdict.MISSING)),
    # What other clients do
    "a new object": (NOTHING, [FOREIGN], ADOPT, Judgement(Verdict.UNKNOWN, FOREIGN, adoptable=True)),
    "a new object, reported": (NOTHING, [FOREIGN], REPORT, Judgement(Verdict.UNKNOWN, FOREIGN)),
    "a new object, quarantined": (NOTHING, [FOREIGN], QUARANTINE, Judgement(Verdict.UNKNOWN, FOREIGN)),
    "a young object": (NOTHING, [s := replace(FOREIGN, written_at=FRESH)], ADOPT, Judgement(Verdict.YOUNG, s)),
    "an object of ours without a record": (NOTHING, [STRANGE], ADOPT, Judgement(Verdict.UNKNOWN, STRANGE, adoptable=True)),
    "a mirror's copy without a record": (NOTHING, [COPY], ADOPT, Judgement(Verdict.UNKNOWN, COPY, adoptable=True)),
    "one that is to be removed": (Known(leaving=frozenset({"strange.1#v6"})), [STRANGE], ADOPT, Judgement(Verdict.FINE)),
    "one that is being stored": (Known(coming=frozenset({"strange.1"})), [STRANGE], ADOPT, Judgement(Verdict.FINE)),
    "one beside what is being stored": (Known(coming=frozenset({"next.1"})), [FOREIGN], ADOPT, Judgement(Verdict.PASSING)),
    "overwritten": (HAS, [FOREIGN, NAMED], ADOPT, Judgement(Verdict.UNKNOWN, FOREIGN, adoptable=True)),
    "overwritten, reported": (HAS, [FOREIGN, NAMED], REPORT, Judgement(Verdict.UNKNOWN, FOREIGN)),
    "overwritten, and our own failed write above": (
        ENDED, [FAILED, FOREIGN, NAMED], ADOPT, Judgement(Verdict.UNKNOWN, FOREIGN, adoptable=True, leftovers=(FAILED,)),
    ),
    "overwritten by what may be a copy with our metadata": (HAS, [STRANGE, NAMED], ADOPT, Judgement(Verdict.UNKNOWN, STRANGE)),
    "overwritten by a copy of what a transfer once stored": (
        Known(RECORD, ended={"failed": OLD - 3600}), [FAILED, NAMED], ADOPT, Judgement(Verdict.UNKNOWN, FAILED),
    ),
    "copied elsewhere, deleted, and copied back": (
        Known(ended={"failed": OLD - 3600}), [FAILED], ADOPT, Judgement(Verdict.UNKNOWN, FAILED, adoptable=True),
    ),
    "copied elsewhere, deleted, and copied back, reported": (
        Known(ended={"failed": OLD - 3600}), [FAILED], REPORT, Judgement(Verdict.UNKNOWN, FAILED),
    ),
    "copied elsewhere, deleted, and copied back, before anybody looked": (
        HAS, [STALE, MARK, replace(NAMED, written_at=OLD - 3600)], ADOPT,
        Judgement(Verdict.UNKNOWN, STALE),
    ),
    "overwritten by a copy of a mirror's copy": (HAS, [COPY, NAMED], REPORT, Judgement(Verdict.UNKNOWN, COPY)),
    "overwritten twice": (
        HAS, [FOREIGN_TOO, FOREIGN, NAMED], ADOPT, Judgement(Verdict.UNKNOWN, FOREIGN_TOO, adoptable=True, leftovers=(FOREIGN,)),
    ),
    "overwritten twice, reported": (HAS, [FOREIGN_TOO, FOREIGN, NAMED], REPORT, Judgement(Verdict.UNKNOWN, FOREIGN_TOO)),
    "overwritten by us after all": (HAS, [NAMED, FOREIGN], ADOPT, Judgement(Verdict.LEFTOVER, NAMED, leftovers=(FOREIGN,))),
    "the same, reported": (HAS, [NAMED, FOREIGN], REPORT, Judgement(Verdict.FINE, NAMED)),
    "not there but for a newer one": (HAS, [STRANGE], ADOPT, Judgement(Verdict.UNKNOWN, STRANGE, adoptable=True)),
    "not there but for a newer one, reported": (HAS, [STRANGE], REPORT, Judgement(Verdict.MISSING)),
    "deleted there": (HAS, [MARK, NAMED], ADOPT, Judgement(Verdict.HIDDEN, MARK, adoptable=True)),
    "deleted there, reported": (HAS, [MARK, NAMED], REPORT, Judgement(Verdict.HIDDEN, MARK)),
    "deleted there just now": (HAS, [s := replace(MARK, written_at=FRESH), NAMED], ADOPT, Judgement(Verdict.YOUNG, s)),
    "deleted there with its bytes": (HAS, [MARK], ADOPT, Judgement(Verdict.HIDDEN, MARK, adoptable=True)),
    "deleted there with its bytes, reported": (HAS, [MARK], REPORT, Judgement(Verdict.MISSING)),
    "deleted there, then taken out of the trash": (
        Known(replace(RECORD, validated_at=OLD + 61)), [MARK, NAMED], ADOPT, Judgement(Verdict.HIDDEN, MARK),
    ),
    "a mirror's copy that was deleted there and confirmed since": (
        Known(replace(RECORD, origin=OriginFacts("/k"), validated_at=NOW)), [MARK, NAMED], ADOPT,
        Judgement(Verdict.HIDDEN, MARK, adoptable=True),
    ),
    "stored again by us": (HAS, [NAMED, MARK], ADOPT, Judgement(Verdict.FINE, NAMED)),
    "overwritten before the index knew the bucket": (
        replace(HAS, since=FRESH), [NAMED, FOREIGN, FOREIGN_TOO], ADOPT, Judgement(Verdict.FINE, NAMED),
    ),
    "overwritten twice, once before the index knew the bucket": (
        replace(HAS, since=OLD), [FOREIGN_TOO, replace(FOREIGN, written_at=OLD - 1), NAMED], ADOPT,
        Judgement(Verdict.UNKNOWN, FOREIGN_TOO, adoptable=True),
    ),
    "a failed write of ours, before an index that was lost": (
        replace(ENDED, since=FRESH), [FAILED, NAMED], ADOPT, Judgement(Verdict.LEFTOVER, NAMED, leftovers=(FAILED,)),
    ),
    "come and gone": (NOTHING, [MARK, FOREIGN], ADOPT, Judgement(Verdict.LEFTOVER, leftovers=(FOREIGN,))),
    "kept in quarantine": (NOTHING, [MARK, FOREIGN], QUARANTINE, Judgement(Verdict.FINE)),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE.values(), ids=TABLE)
def test_every_constellation(case: tuple[Known, list[Seen], Policy, Judgement]) -> None:
    known, versions, policy, expected = case
    assert judge(known, versions, NOW, GRACES, policy) == expected


def test_who_was_told_does_not_wait_for_a_grace() -> None:
    soon = Graces(0.0, GRACE)
    young = [replace(FOREIGN, written_at=NOW), replace(STRANGE, written_at=NOW), replace(MARK, written_at=NOW)]
    for each in young:
        verdict = Verdict.HIDDEN if each.marker else Verdict.UNKNOWN
        expected = Judgement(verdict, each, adoptable=True)
        assert judge(HAS, [each, NAMED], NOW, soon, ADOPT, hinted=True) == expected
    failed = replace(FAILED, written_at=NOW)
    assert judge(ENDED, [failed, NAMED], NOW, soon, ADOPT, hinted=True) == Judgement(Verdict.FINE, NAMED)


@pytest.mark.parametrize("policy", Policy)
@pytest.mark.parametrize("known", [HAS, ENDED, replace(HAS, coming=frozenset({"next.1"}))])
def test_what_a_record_names_is_never_a_leftover(known: Known, policy: Policy) -> None:
    for above in ([], [MARK], [FOREIGN], [STRANGE], [COPY], [FAILED], [MARK, FOREIGN, FAILED]):
        for below in ([], [FOREIGN_TOO], [STALE, MARK]):
            found = judge(known, [*above, NAMED, *below], NOW, GRACES, policy, hinted=True)
            assert NAMED not in found.leftovers


LISTED: dict[str, tuple[Known, Seen, bool]] = {
    "named": (HAS, replace(NAMED, store_version=""), False),
    "named, of another size": (HAS, replace(NAMED, store_version="", size=1), True),
    "unknown": (NOTHING, replace(FOREIGN, store_version=""), True),
    "unknown and young": (NOTHING, replace(FOREIGN, store_version="", written_at=FRESH), False),
    "to be removed": (Known(leaving=frozenset({"s3.e.v8#v8"})), replace(FOREIGN, store_version=""), False),
    "kept elsewhere": (Known(kept=frozenset({"s3.e.v8#v8"})), replace(FOREIGN, store_version=""), False),
    "deleted there": (HAS, replace(MARK, newest=True), True),
    "deleted there once": (HAS, MARK, False),
    "deleted everywhere": (NOTHING, replace(MARK, newest=True), False),
}


@pytest.mark.parametrize("case", LISTED.values(), ids=LISTED)
def test_what_of_a_listing_is_looked_at(case: tuple[Known, Seen, bool]) -> None:
    known, seen, expected = case
    assert suspicious(known, seen, NOW, GRACES) is expected


@pytest.mark.parametrize(
    ("name", "identity", "attempt"),
    [
        ("t.1", "t.1", True),
        ("t.1#v", "v", False),
        ("t.1#upload/u", "upload/u", True),
        ("t.1#besides/v", "besides/v", True),
        ("s3.e-2.null#null", "null", False),
    ],
)
def test_names_of_versions(name: str, identity: str, attempt: bool) -> None:
    assert (identity_of(name), is_attempt(name)) == (identity, attempt)
    assert transfer_of("t.1#v") == "t"
