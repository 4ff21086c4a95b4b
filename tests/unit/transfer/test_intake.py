"""What an origin's first answer means, as tables."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cephstorage.domain.digests import caller_md5
from cephstorage.domain.errors import (
    LengthUnverifiable,
    OriginBusy,
    OriginFault,
    OriginProtocol,
    OriginRefused,
    StoreFull,
    TooLarge,
    TransferError,
)
from cephstorage.domain.policy import Cookies, Policy, Terms
from cephstorage.domain.ranges import RangeRequest
from cephstorage.domain.transfers import Kind, TransferRequest
from cephstorage.ports.origin import Framing, OriginRequest
from cephstorage.transfer.intake import (
    SHARED_ERROR_BYTES,
    Limits,
    check_fetch,
    joinable,
    promised_digests,
    source_error,
    source_facts,
    total_length,
    unstored_head,
)
from cephstorage.transfer.live import Confirmed, NotStored, Refused
from cephstorage.transfer.spools import SpoolDirectory
from tests.unit.transfer.conftest import BUCKET, fill_request

FETCH = TransferRequest(Kind.FETCH, BUCKET, "k", url="http://origin.example/k")
FILL = fill_request("http://origin.example/k")
DATE = "Mon, 01 Jan 2024 10:00:00 GMT"
EARLIER = "Mon, 01 Jan 2024 09:00:00 GMT"
MD5 = "900150983cd24fb0d6963f7d28e17f72"
MD5_BASE64 = "kAFQmDzST7DWlj99KOF/cg=="


class Answer:
    """An origin's answer as the port describes it, written down."""

    def __init__(
        self,
        status: int = 200,
        length: int | None = 3,
        framing: Framing = Framing.LENGTH,
        body: bytes = b"",
        **headers: str,
    ) -> None:
        self.status, self.length, self.framing, self.url = status, length, framing, "http://origin.example/final"
        self.raw_headers = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        self.headers = {name.lower(): value for name, value in self.raw_headers}
        self.server = "http://origin.example"
        self.closed = False
        self._body = body

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._body

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def limits(tmp_path: Path) -> Limits:
    return Limits(SpoolDirectory(tmp_path / "spool", 1000), 500)


# -- statuses


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, None),
        (206, None),
        (204, OriginRefused),
        (301, OriginRefused),
        (401, OriginRefused),
        (403, OriginRefused),
        (404, OriginRefused),
        (410, OriginRefused),
        (416, OriginRefused),
        (408, OriginBusy),
        (425, OriginBusy),
        (429, OriginBusy),
        (503, OriginBusy),
        (500, OriginFault),
        (502, OriginFault),
        (504, OriginFault),
        (599, OriginFault),
    ],
)
def test_which_error_a_status_stands_for(status: int, error: type[TransferError] | None) -> None:
    found = source_error(Answer(status))
    assert found is None if error is None else type(found) is error


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), (EARLIER, 0.0), ("soon", 0.0)])
def test_a_busy_origin_says_when(header: str, seconds: float) -> None:
    error = source_error(Answer(503, retry_after=header))
    assert error is not None
    assert (error.retry_after or 0.0) == seconds


@pytest.mark.parametrize(
    ("answer", "md5", "error"),
    [
        (Answer(), None, None),
        (Answer(framing=Framing.CHUNKED, length=None), None, None),
        (Answer(framing=Framing.CLOSE, length=None), None, LengthUnverifiable),
        (Answer(framing=Framing.CLOSE, length=None), MD5, None),
        (Answer(206), None, OriginProtocol),
        (Answer(404), None, OriginRefused),
        (Answer(503), MD5, OriginBusy),
    ],
)
def test_what_a_create_from_url_takes(answer: Answer, md5: str | None, error: type[TransferError] | None) -> None:
    request = replace(FETCH, md5=md5)
    if error is None:
        check_fetch(answer, request)
    else:
        with pytest.raises(error):
            check_fetch(answer, request)


# -- first spans


@pytest.mark.parametrize(
    ("asked", "content_range", "length", "headers", "joins"),
    [
        (RangeRequest(0, 9), "bytes 0-9/100", 10, {"ETag": '"a"'}, True),
        (RangeRequest(0, 9), "bytes 0-9/100", None, {"ETag": '"a"'}, True),
        (RangeRequest(90, 200), "bytes 90-99/100", 10, {"ETag": '"a"'}, True),
        (RangeRequest(90, None), "bytes 90-99/100", 10, {"ETag": '"a"'}, True),
        (RangeRequest(None, None, 10), "bytes 90-99/100", 10, {"ETag": '"a"'}, True),
        (RangeRequest(0, 9), "bytes 0-9/100", 10, {"Last-Modified": EARLIER, "Date": DATE}, True),
        (RangeRequest(0, 9), "bytes 0-9/100", 10, {"Last-Modified": DATE, "Date": DATE}, False),
        (RangeRequest(0, 9), "bytes 0-9/100", 10, {"Last-Modified": EARLIER}, False),
        (RangeRequest(0, 9), "bytes 0-9/100", 10, {"ETag": 'W/"a"'}, False),
        (RangeRequest(0, 9), "bytes 0-9/100", 10, {}, False),
        (RangeRequest(0, 9), "bytes 0-9/*", 10, {"ETag": '"a"'}, False),
        (RangeRequest(0, 9), "bytes 0-9/100", 11, {"ETag": '"a"'}, False),
        (RangeRequest(0, 9), "bytes 0-8/100", 9, {"ETag": '"a"'}, False),
        (RangeRequest(0, 9), "bytes 1-9/100", 9, {"ETag": '"a"'}, False),
        (RangeRequest(0, 9), "bytes */100", 10, {"ETag": '"a"'}, False),
        (RangeRequest(0, 9), None, 10, {"ETag": '"a"'}, False),
        (None, "bytes 0-9/100", 10, {"ETag": '"a"'}, False),
    ],
)
def test_which_206_may_be_the_first_span(
    asked: RangeRequest | None, content_range: str | None, length: int | None, headers: dict[str, str], joins: bool
) -> None:
    more = {"Content-Range": content_range} if content_range is not None else {}
    answer = Answer(206, length, **headers, **more)
    assert joinable(answer, OriginRequest("http://origin.example/k", range=asked)) is joins


@pytest.mark.parametrize(
    ("answer", "total"),
    [
        (Answer(200, 30), 30),
        (Answer(200, None), None),
        (Answer(206, 10, **{"Content-Range": "bytes 0-9/100"}), 100),
        (Answer(206, 10, **{"Content-Range": "bytes 0-9/*"}), None),
        (Answer(200, 30, **{"Content-Range": "bytes 0-9/100"}), 30),
    ],
)
def test_how_long_the_whole_object_is(answer: Answer, total: int | None) -> None:
    assert total_length(answer) == total


# -- what a fill stores


@pytest.mark.parametrize(
    ("answer", "revalidating", "reason"),
    [
        (Answer(), False, None),
        (Answer(framing=Framing.CHUNKED, length=None), False, None),
        (Answer(framing=Framing.CLOSE, length=None), False, "length"),
        (Answer(Cache_Control="no-store"), False, "no-store"),
        (Answer(Cache_Control="private"), False, "private"),
        (Answer(Cache_Control="no-cache"), False, None),
        (Answer(Set_Cookie="a=b"), False, "set-cookie"),
        (Answer(Vary="*"), False, "vary"),
        (Answer(404, SHARED_ERROR_BYTES + 1), False, "status"),
        (Answer(404, None, Framing.CLOSE), False, "status"),
        (Answer(304, 0), False, Refused),
        (Answer(304, 0), True, Confirmed),
        (Answer(404, 0), False, Refused),
        (Answer(500, SHARED_ERROR_BYTES), True, Refused),
        (Answer(length=501), False, "too_large"),
        (Answer(length=500), False, None),
    ],
)
async def test_what_is_spooled_and_what_is_not(
    answer: Answer, revalidating: bool, reason: str | type[Any] | None, limits: Limits
) -> None:
    answer.closed = False
    head = await unstored_head(answer, FILL, revalidating=revalidating, limits=limits, transfer_id="t")
    if reason is None:
        assert head is None
        assert not answer.closed
    elif isinstance(reason, str):
        assert isinstance(head, NotStored)
        assert (head.reason, head.take(), head.take()) == (reason, answer, None)
        assert not answer.closed, "the first taker reads it"
    else:
        assert isinstance(head, reason)
        assert answer.closed


async def test_a_small_error_is_shared_with_its_body(limits: Limits) -> None:
    answer = Answer(404, 4, body=b"gone", Content_Type="text/plain")
    head = await unstored_head(answer, FILL, revalidating=False, limits=limits, transfer_id="t")
    assert head == Refused(404, (("Content-Type", "text/plain"),), b"gone")


async def test_a_big_error_goes_whole_to_one_taker(limits: Limits) -> None:
    answer = Answer(404, None, Framing.CHUNKED, body=bytes(2 * SHARED_ERROR_BYTES))
    head = await unstored_head(answer, FILL, revalidating=False, limits=limits, transfer_id="t")
    assert isinstance(head, NotStored)
    taken = head.take()
    assert taken is not None
    assert b"".join([chunk async for chunk in taken.chunks()]) == bytes(2 * SHARED_ERROR_BYTES)
    await taken.close()
    assert answer.closed


async def test_cookies_may_be_dropped_by_rule(limits: Limits) -> None:
    answer, request = Answer(Set_Cookie="a=b"), replace(FILL, terms=Terms(Policy(cookies=Cookies.DROP)))
    assert await unstored_head(answer, request, revalidating=False, limits=limits, transfer_id="t") is None
    facts = source_facts(answer, request)
    assert facts.origin is not None
    assert facts.origin.headers == ()


async def test_a_full_spool_is_no_reason_to_refuse_the_client(limits: Limits) -> None:
    limits.admit("a", 500)
    limits.admit("b", 400)
    head = await unstored_head(Answer(length=200), FILL, revalidating=False, limits=limits, transfer_id="t")
    assert isinstance(head, NotStored)
    assert head.reason == "storage_full"


async def test_nor_is_it_where_nobody_knows_how_much_will_come(limits: Limits) -> None:
    limits.admit("a", 500)
    limits.admit("b", 500)
    answer = Answer(length=None, framing=Framing.CHUNKED)
    head = await unstored_head(answer, FILL, revalidating=False, limits=limits, transfer_id="t")
    assert isinstance(head, NotStored)
    assert head.reason == "storage_full"


def test_the_limits(limits: Limits) -> None:
    limits.admit("a", 500)
    with pytest.raises(TooLarge):
        limits.admit("a", 501)
    limits.admit("b", 500)
    with pytest.raises(StoreFull):
        limits.admit("c", 1)


# -- what is remembered


def test_a_mirrored_object_keeps_its_validators_or_gets_an_etag_once() -> None:
    with_etag = source_facts(Answer(ETag='W/"a"', Last_Modified=EARLIER, Date=DATE), FILL)
    assert (with_etag.public.etag, with_etag.public.last_modified) == ('W/"a"', EARLIER)
    assert with_etag.resume_validator is None
    first, second = source_facts(Answer(), FILL), source_facts(Answer(), FILL)
    assert first.public.etag
    assert first.public.etag != second.public.etag
    assert first.origin is not None
    assert first.origin.validators.etag is None
    assert first.resume_validator is None


def test_a_created_key_has_no_public_validators_of_its_origin() -> None:
    facts = source_facts(Answer(ETag='"a"', Content_Type="image/jpeg"), FETCH)
    assert (facts.public.etag, facts.resume_validator, facts.origin) == (None, '"a"', None)
    assert facts.content_type == "image/jpeg"
    assert source_facts(Answer(Content_Type="image/jpeg"), replace(FETCH, content_type="a/b")).content_type == "a/b"
    assert source_facts(Answer(), FETCH).content_type == "application/octet-stream"


@pytest.mark.parametrize(
    ("status", "header", "counts"),
    [
        (200, "Content-MD5", True),
        (200, "Content-Digest", True),
        (200, "Repr-Digest", True),
        (206, "Content-MD5", False),
        (206, "Content-Digest", False),
        (206, "Repr-Digest", True),
    ],
)
def test_only_digests_of_the_whole_object_are_promises(status: int, header: str, counts: bool) -> None:
    value = MD5_BASE64 if header == "Content-MD5" else f"md5=:{MD5_BASE64}:"
    facts = source_facts(Answer(status, **{header: value}), FILL)
    assert facts.declared == ((("md5", MD5),) if counts else ())


def test_the_caller_and_the_origin_both_promise() -> None:
    request = replace(FETCH, md5="0" * 32)
    promised = promised_digests(request, source_facts(Answer(**{"Content-MD5": MD5_BASE64}), request))
    assert promised[:1] == caller_md5("0" * 32)
    assert [(digest.value.hex(), digest.promised_by_caller) for digest in promised[1:]] == [(MD5, False)]
