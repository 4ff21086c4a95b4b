"""What does not fit is counted each time, and told of mirrors once until something fits again."""

import pytest
import structlog
from structlog.testing import capture_logs

from cephstorage.domain.errors import DatabaseUnavailable, QuotaExceeded
from cephstorage.domain.names import BucketName
from cephstorage.domain.transfers import Kind, Lease, TransferRequest
from cephstorage.transfer.room import Refusals, Room

BUCKET, OTHER = BucketName("alice", "photos"), BucketName("bob", "photos")
LEASE = Lease("id", "owner", 1)
FULL = QuotaExceeded("full")


def request(kind: Kind, bucket: BucketName = BUCKET) -> TransferRequest:
    return TransferRequest(kind, bucket, "k")


def test_fills_are_told_once_a_bucket_and_everything_is_counted() -> None:
    refusals, counted = Refusals(), list[Kind]()
    refusals.on_refusal = counted.append
    structlog.reset_defaults()
    with capture_logs() as told:
        for kind in (Kind.FILL, Kind.FILL, Kind.UPLOAD, Kind.FETCH):
            refusals.note(request(kind), FULL)
        refusals.note(request(Kind.FILL, OTHER), FULL)
        refusals.fits(request(Kind.UPLOAD))
        refusals.fits(request(Kind.FILL))
        refusals.fits(request(Kind.FILL))
        refusals.note(request(Kind.FILL), FULL)
    assert [(line["event"], line["bucket"]) for line in told] == [
        ("mirror_copies_not_kept", str(BUCKET)),
        ("mirror_copies_not_kept", str(OTHER)),
        ("mirror_copies_kept_again", str(BUCKET)),
        ("mirror_copies_not_kept", str(BUCKET)),
    ]
    assert counted == [Kind.FILL, Kind.FILL, Kind.UPLOAD, Kind.FETCH, Kind.FILL, Kind.FILL]


class Answers:
    """A ledger that grants up to a size, or fails."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.asked: list[tuple[int, int]] = []
        self.gone = False

    async def reserve(self, lease: Lease, size: int, wish: int, now: float) -> int:
        assert (lease, now) == (LEASE, 5.0)
        self.asked.append((size, wish))
        if self.gone:
            raise DatabaseUnavailable("gone")
        if size > self.most:
            raise FULL
        return min(wish, self.most)


async def test_room_is_asked_for_when_there_is_not_enough() -> None:
    ledger = Answers(10_000_000)
    room = Room(ledger, lambda: 5.0, LEASE)  # type: ignore[arg-type]
    await room.hold(0)
    await room.grow(100)
    await room.grow(4_000_000)
    await room.grow(9_999_999)
    await room.hold(10_000_000)
    assert ledger.asked == [(0, 0), (100, 100 + 2**22), (9_999_999, 9_999_999 + 2**22)]
    assert room.refused is None
    with pytest.raises(QuotaExceeded):
        await room.hold(10_000_001)
    assert room.refused is FULL


async def test_a_database_that_is_gone_leaves_it_to_the_commit() -> None:
    ledger = Answers(10)
    ledger.gone = True
    room = Room(ledger, lambda: 5.0, LEASE)  # type: ignore[arg-type]
    await room.hold(11)
    ledger.gone = False
    with pytest.raises(QuotaExceeded):
        await room.hold(11)
