"""What an origin's first answer means: begin spooling, confirm, refuse, or hand it on unstored.

A create-from-URL wants the bytes or an error; a mirror fill must also respect what may be stored.
"""

import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

from cephstorage.domain.absences import is_for_all
from cephstorage.domain.digests import Digest, caller_md5, declared_digests
from cephstorage.domain.errors import (
    LengthUnverifiable,
    OriginBusy,
    OriginFault,
    OriginProtocol,
    OriginRefused,
    PathDenied,
    QuotaExceeded,
    SpoolUnavailable,
    StoreFull,
    TooLarge,
    TransferError,
)
from cephstorage.domain.freshness import age_of
from cephstorage.domain.policy import Cookies, Mode, OriginAnswer
from cephstorage.domain.ranges import ContentRange, parse_content_range
from cephstorage.domain.records import DEFAULT_CONTENT_TYPE, OriginFacts
from cephstorage.domain.storability import kept_headers, not_stored_reason
from cephstorage.domain.transfers import SourceFacts, TransferRequest
from cephstorage.domain.validators import Validators, retry_after_seconds, valid_etag
from cephstorage.ports.origin import Framing, OriginRequest, OriginResponse
from cephstorage.transfer.live import Confirmed, Head, NotStored, Refused
from cephstorage.transfer.room import Room
from cephstorage.transfer.spools import SpoolDirectory

SHARED_ERROR_BYTES = 64 * 1024
_STEP = 4 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest object and the spool that must have room for it."""

    spools: SpoolDirectory
    max_object_size: int

    def admit(self, transfer_id: str, size: int) -> None:
        """Raise TooLarge or StoreFull unless an object of ``size`` bytes may be spooled."""
        if size > self.max_object_size:
            raise TooLarge(f"The object has {size} bytes or more; at most {self.max_object_size} are allowed.")
        self.spools.admit(transfer_id, size)

    def grow(self, transfer_id: str, size: int) -> None:
        """Admit that a spool grows to ``size``, some way ahead: for bodies that do not say how long they will be."""
        if size > self.spools.promised(transfer_id) or size > self.max_object_size:
            self.admit(transfer_id, max(size, min(size + _STEP, self.max_object_size)))


def joinable(response: OriginResponse, asked: OriginRequest) -> bool:
    """Whether a 206 can be the first span of a fill: the asked bytes, a known total, a strong validator."""
    return answers_range(response, asked) and strong_validator(response) is not None


def answers_range(response: OriginResponse, asked: OriginRequest) -> bool:
    """Whether a 206 says that it holds just the bytes that were asked for, of a known total."""
    answered = parse_content_range(response.headers.get("content-range"))
    if answered is None or answered.span is None or answered.total is None or asked.range is None:
        return False
    if response.length not in {None, len(answered.span)}:
        return False
    return answered.span == asked.range.resolve(answered.total)


def content_range(response: OriginResponse) -> ContentRange | None:
    """The Content-Range of a 206."""
    return parse_content_range(response.headers.get("content-range")) if response.status == 206 else None


def has_place(response: OriginResponse) -> bool:
    """Whether a 206 says which part of the object it holds."""
    answered = content_range(response)
    return answered is not None and answered.span is not None


def strong_validator(response: OriginResponse) -> str | None:
    """What may join this answer's bytes with those of another one."""
    return _validators(response).strong(response.headers.get("date"))


def source_error(response: OriginResponse) -> TransferError | None:
    """The error that an answer's status stands for; None for 200 and 206."""
    status = response.status
    if status in {200, 206}:
        return None
    said = f"The origin answered {status}"
    if status in {408, 425, 429, 503}:
        return OriginBusy(f"{said}: it is busy.", retry_after=_patience(response))
    if status >= 500:
        return OriginFault(f"{said}: it fails.")
    return OriginRefused(f"{said}; asking again will not help.")


def check_fetch(response: OriginResponse, request: TransferRequest) -> None:
    """Raise unless the answer of a create-from-URL holds a body whose end can be known."""
    error = source_error(response)
    if error is not None:
        raise error
    if response.status == 206:
        raise OriginProtocol("The origin answered 206 to a request for the whole object.")
    if response.framing is Framing.CLOSE and request.md5 is None:
        raise LengthUnverifiable(
            "The origin gives neither a length nor a clean end, so a cut body could not be told from a whole one; "
            "send the md5 with the request to have it verified."
        )


async def unstored_head(
    response: OriginResponse,
    request: TransferRequest,
    *,
    revalidating: bool,
    limits: Limits,
    transfer_id: str,
    room: Room | None = None,
) -> Head | None:
    """What a fill's waiters get when there is nothing to spool; None when the answer is to be stored."""
    if response.status == 304 and revalidating:
        await response.close()
        return Confirmed(origin_facts(response, request))
    policy = request.terms.when(OriginAnswer(response.status, response.headers.get("content-type", "")))
    if policy.mode is Mode.DENY:
        await response.close()
        raise PathDenied("A rule of this mirror denies what the origin answers.")
    if policy.mode is Mode.BYPASS:
        return NotStored("bypass", response, response.status, _patience(response))
    drop_cookies = policy.cookies is Cookies.DROP
    reason = not_stored_reason(response.status, response.headers, authorized=False, drop_cookies=drop_cookies)
    short = response.framing is not Framing.CLOSE and (response.length or 0) <= SHARED_ERROR_BYTES
    if reason == "status" and short and is_for_all(policy, dict(response.headers)):
        return await _shared_error(response)
    if reason is None and response.framing is Framing.CLOSE:
        reason = "length"
    if reason is None:
        reason = await _no_room(total_length(response), policy.max_size, limits, transfer_id, room)
    return NotStored(reason, response, response.status, _patience(response)) if reason is not None else None


async def _shared_error(response: OriginResponse) -> Head:
    """An error answer that is small enough to be shared, or the answer as it was, for one taker."""
    chunks, body = response.chunks(), bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > SHARED_ERROR_BYTES:
            return NotStored(
                "status", BegunResponse(response, bytes(body), chunks), response.status, _patience(response)
            )
    await response.close()
    return Refused(response.status, response.raw_headers, bytes(body), _patience(response))


def _patience(response: OriginResponse) -> float:
    return retry_after_seconds(response.headers.get("retry-after"), time.time()) or 0.0


class BegunResponse:
    """An answer of which the beginning was read already; it is given out again."""

    def __init__(self, response: OriginResponse, beginning: bytes, rest: AsyncIterator[bytes]) -> None:
        self.status = response.status
        self.headers = response.headers
        self.raw_headers = response.raw_headers
        self.framing = response.framing
        self.length = response.length
        self.url = response.url
        self.server = response.server
        self._beginning = beginning
        self._rest = rest
        self._response = response

    async def chunks(self) -> AsyncIterator[bytes]:
        """The whole body."""
        yield self._beginning
        async for chunk in self._rest:
            yield chunk

    def passage(self) -> None:
        """There is none any more."""

    async def close(self) -> None:
        """Close the answer."""
        await self._response.close()


async def _no_room(size: int | None, max_size: int, limits: Limits, transfer_id: str, room: Room | None) -> str | None:
    if size is not None and 0 < max_size < size:
        return TooLarge.code
    try:
        if size is None:
            limits.grow(transfer_id, 1)
        else:
            limits.admit(transfer_id, size)
        if room is not None:
            await room.hold(size or 0)
    except (TooLarge, StoreFull, SpoolUnavailable, QuotaExceeded) as error:
        return error.code
    return None


def total_length(response: OriginResponse) -> int | None:
    """Length of the whole object, as far as the answer tells."""
    answered = content_range(response)
    return answered.total if answered is not None else response.length


def source_facts(response: OriginResponse, request: TransferRequest) -> SourceFacts:
    """What is remembered of the answer for readers, for resuming, and for the record.

    A mirrored object without an ETag gets one here, once: it is the same for every reader of this fill
    and of the stored copy, so that their ranges can be joined safely.
    """
    validators = _validators(response)
    mirrored = request.mirror_host is not None
    public = (
        Validators(validators.etag or f'"{uuid.uuid4().hex}"', validators.last_modified) if mirrored else Validators()
    )
    origin = origin_facts(response, request) if mirrored else None
    return SourceFacts(
        url=response.url,
        length=total_length(response),
        resume_validator=strong_validator(response),
        public=public,
        content_type=request.content_type or response.headers.get("content-type") or DEFAULT_CONTENT_TYPE,
        origin=origin,
        declared=tuple((digest.algorithm, digest.value.hex()) for digest in _declared(response)),
        server=response.server,
    )


def origin_request(request: TransferRequest) -> OriginRequest:
    """What the origin is asked for a transfer: the whole object, whoever asks."""
    assert request.url is not None
    policy, shown = request.terms.policy, dict(request.headers)
    encodings = shown.pop("accept-encoding", "identity")
    return OriginRequest(
        request.url,
        headers=policy.request_headers.applied_to(shown.items()),
        mirror=request.mirror_host,
        redirects=policy.redirects,
        missing=policy.failover_statuses,
        encodings=encodings,
        userinfo=request.userinfo,
    )


def origin_facts(response: OriginResponse, request: TransferRequest) -> OriginFacts:
    """What a mirrored key remembers of an answer; when it was asked for and came is known to who asked."""
    return OriginFacts(
        target=request.target or "",
        headers=kept_headers(response.raw_headers),
        validators=_validators(response),
        date=response.headers.get("date"),
        age=age_of(response.headers.get("age")),
    )


def promised_digests(request: TransferRequest, source: SourceFacts) -> tuple[Digest, ...]:
    """Everything the bytes must match: the caller's md5 and the origin's own digests."""
    declared = tuple(Digest(algorithm, bytes.fromhex(value)) for algorithm, value in source.declared)
    return caller_md5(request.md5) + declared


def _declared(response: OriginResponse) -> tuple[Digest, ...]:
    partial = {"content-md5", "content-digest"} if response.status == 206 else set()
    return declared_digests({name: value for name, value in response.headers.items() if name not in partial})


def _validators(response: OriginResponse) -> Validators:
    return Validators(valid_etag(response.headers.get("etag")), response.headers.get("last-modified"))
