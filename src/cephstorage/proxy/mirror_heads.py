"""HEAD of a stale copy in mode ``origin``: the origin is asked with HEAD, which costs it no body.

What it answers confirms the copy, as a 304 does, or shows that the copy is outdated (RFC 9111 section 4.3.5).
"""

from dataclasses import replace

from cephstorage.domain.errors import CephStorageError, OriginUnreachable
from cephstorage.domain.records import Record
from cephstorage.domain.storability import confirms
from cephstorage.domain.validators import Validators
from cephstorage.ports.origin import OriginResponse
from cephstorage.proxy.mirror_fills import FollowedFills, Pursuit, conditions, fill_request
from cephstorage.proxy.mirror_passing import PassingThrough
from cephstorage.proxy.mirror_request import MirrorParts
from cephstorage.services.confirmations import note_confirmation
from cephstorage.transfer.intake import origin_facts, origin_request


class AskedHeads:
    """Answers HEAD by the origin's own HEAD."""

    def __init__(self, parts: MirrorParts, fills: FollowedFills, passing: PassingThrough) -> None:
        self._parts = parts
        self._fills = fills
        self._passing = passing

    async def ask(self, pursuit: Pursuit, record: Record) -> bool:
        """Answer from the copy if the origin confirms it, else with what the origin says; False: look again."""
        parts, asked = self._parts, pursuit.asked
        wanted = fill_request(pursuit.exchange, asked, record)
        plain = origin_request(wanted)
        question = replace(plain, method="HEAD", headers=(*plain.headers, *conditions(record).items()))
        before = parts.clock()
        try:
            response = await parts.origin.open(question)
        except CephStorageError as error:
            return await self._fills.stale(pursuit, record, error)
        await response.close()  # its head is all there is of it
        if (cover := self._fills.cover(pursuit, response.status)) is not None:
            return await self._fills.stale(pursuit, cover, OriginUnreachable(f"The origin answered {response.status}."))
        if not _confirmed(record, response):
            if response.status == 200:
                await parts.invalidate(asked.mirror, (asked.target.raw,))
            await self._passing.hand_on(pursuit.exchange, asked, response, f"fwd={pursuit.why}")
            return True
        now = parts.clock()
        facts = replace(origin_facts(response, wanted), request_time=before, response_time=now)
        fresh = await note_confirmation(parts.keys, record, facts, now)
        status = f"fwd={pursuit.why}; fwd-status={response.status}"
        return await self._fills.stored(pursuit.exchange, asked, fresh, status)


def _confirmed(record: Record, response: OriginResponse) -> bool:
    """Whether the answer is about the bytes that are stored: what it says of them has to be true of the copy."""
    if record.origin is None or response.status not in {200, 304}:
        return False
    held, shown = record.origin.validators, response.headers
    if response.status == 304:
        return confirms(held, Validators(shown.get("etag")))
    told = {"etag": held.etag, "last-modified": held.last_modified, "content-length": str(record.size)}
    same = all(shown[name] == value for name, value in told.items() if name in shown)
    return same and bool({"etag", "last-modified"} & shown.keys())
