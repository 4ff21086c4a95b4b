"""The search among a mirror's origins for the answer to one request: which is taken, and what is left when none is.

An answer that goes on with a version must be of it. The origin that showed the version first, its *home*, has the
last word on whether it has changed; another one that has other bytes is passed over.
"""

from dataclasses import replace

from cephstorage.domain.errors import CephStorageError, OriginChanged
from cephstorage.domain.origins import Route, Verdict, verdict
from cephstorage.domain.ranges import parse_content_range
from cephstorage.ports.origin import OriginRequest, OriginResponse, Version


class Search:
    """Of one request. ``first`` is the origin that the request's URL names."""

    def __init__(self, request: OriginRequest, route: Route, first: str) -> None:
        self._request = request
        self._missing = route.missing if request.missing is None else request.missing
        self.home = (request.version.server if request.version is not None else "") or first
        self._held: OriginResponse | None = None
        self._held_is_missing = False
        self._error: CephStorageError | None = None

    def asked_of(self, server: str, url: str) -> OriginRequest:
        """The request as this origin gets it: validators of another one mean nothing to it where a digest vouches."""
        version = self._request.version
        foreign = version is not None and version.verified and server != self.home
        return replace(self._request, url=url, if_range=None if foreign else self._request.if_range)

    def failed(self, server: str, error: CephStorageError) -> None:
        """Note that an origin gave no answer. Of a version its home's own error counts, else the first one."""
        if self._error is None or (self._request.version is not None and server == self.home):
            self._error = error

    async def takes(self, response: OriginResponse) -> bool:
        """Whether this answer ends the search; if not, it is kept for the end or closed."""
        version = self._request.version
        if version is not None:
            if continues(response, self._request, version, at_home=response.server == self.home):
                await self.drop()
                return True
            await self._keep(response, better=response.server == self.home, missing=False)
            return False
        judged = verdict(response.status, self._missing)
        if judged is Verdict.TAKEN:
            await self.drop()
            return True
        missing = judged is Verdict.MISSING
        await self._keep(
            response, better=self._held is None or (self._held_is_missing and not missing), missing=missing
        )
        return False

    async def _keep(self, response: OriginResponse, *, better: bool, missing: bool) -> None:
        if not better:
            await response.close()
            return
        await self.drop()
        self._held, self._held_is_missing = response, missing

    def best(self) -> OriginResponse | None:
        """The answer to make do with: a failure of some origin, or that all say it is missing."""
        if self._held is not None and self._held_is_missing and self._error is not None:
            return None  # one that did not answer may have it
        return self._held

    async def error(self) -> CephStorageError:
        """What to raise when no answer will do."""
        await self.drop()
        return self._error or OriginChanged("No origin of the mirror has this version of the object any more.")

    async def drop(self) -> None:
        """Close what was kept."""
        held, self._held = self._held, None
        if held is not None:
            await held.close()


def continues(response: OriginResponse, asked: OriginRequest, version: Version, *, at_home: bool) -> bool:
    """Whether an answer's bytes may be joined with those of ``version`` that are there.

    Strictly for another origin: it must show the same strong validator, unless a digest of the whole vouches for the
    join (``verified``); its length must be the same, and a part must be the one that was asked for.
    """
    if response.status not in {200, 206} or (not at_home and not _begins_as_asked(response, asked)):
        return False
    length = _whole_length(response)
    if version.length is not None and length is not None and length != version.length:
        return False
    if version.validator is not None:
        shown = response.headers.get("etag" if version.validator.startswith('"') else "last-modified")
        if shown == version.validator or (shown is None and at_home and response.status == 206):
            return True
        if at_home:
            return False
    return version.verified and length is not None


def _begins_as_asked(response: OriginResponse, asked: OriginRequest) -> bool:
    if response.status == 200:
        return True
    answered = parse_content_range(response.headers.get("content-range"))
    span = answered.span if answered is not None else None
    return span is not None and asked.range is not None and span.start == asked.range.first


def _whole_length(response: OriginResponse) -> int | None:
    if response.status == 200:
        return response.length
    answered = parse_content_range(response.headers.get("content-range"))
    return answered.total if answered is not None else None
