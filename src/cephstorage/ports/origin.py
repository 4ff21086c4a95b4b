"""The origin: the provider's server behind a mirror or a ``key_url``."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from cephstorage.domain.credentials import CredentialKind
from cephstorage.domain.origins import Circuit
from cephstorage.domain.policy import Redirects
from cephstorage.domain.ranges import RangeRequest


class Framing(Enum):
    """How the end of a body is known (RFC 9112 section 6.3)."""

    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"


@dataclass(frozen=True, slots=True)
class Version:
    """The version that an answer must be of, because its bytes are joined with others of it.

    ``validator`` is a strong one, None when there is none; ``length`` that of the whole object. ``server`` is the
    origin that showed it first. ``verified``: the whole is held against a digest before it counts, so that another
    origin of the mirror, whose validators differ, may bring a part.
    """

    validator: str | None
    length: int | None
    server: str = ""
    verified: bool = False


@dataclass(frozen=True, slots=True)
class RequestBody:
    """What a request brings, piece by piece; it can be read once. ``length`` in bytes, None when it is not announced."""

    chunks: AsyncIterator[bytes]
    length: int | None


@dataclass(frozen=True, slots=True)
class OriginRequest:
    """One request. ``if_range`` goes with ``range`` only. ``headers`` are extra request headers.

    ``encodings`` are the content codings that are taken (Accept-Encoding). Any method but GET and HEAD is asked of one
    origin once, and its redirects are not followed.

    ``mirror`` is the host of the mirror that asks: its other origins may answer in place of the one that ``url``
    names, and its credentials are shown; they do after ``missing`` statuses, too (None: those that the mirror says).
    Without it the URL stands alone; ``userinfo`` is sealed then, and is shown to its host as if it stood in the URL.
    """

    url: str
    method: str = "GET"
    range: RangeRequest | None = None
    if_range: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    mirror: str | None = None
    version: Version | None = None
    redirects: Redirects = Redirects.FOLLOW
    body: RequestBody | None = None
    encodings: str = "identity"
    userinfo: str = field(default="", repr=False)
    missing: tuple[int, ...] | None = None


class Passage(Protocol):
    """A body on its way from the connection into a file, past Python."""

    async def ready(self) -> bool:
        """Wait until there is something to move; False at the body's end. Raises OriginTimeout."""
        ...

    def move(self, file: int, position: int, most: int) -> int:
        """Write up to ``most`` bytes that are there into a file at ``position``; how many (0: none were, after all).

        Runs in a thread, and not for long. Raises OriginBroken when the connection has ended early, OSError for the file.
        """
        ...


class OriginResponse(Protocol):
    """An answer whose body is still to be read. ``headers`` has lower-case names (repeated ones joined by ', ')."""

    status: int
    headers: Mapping[str, str]
    raw_headers: tuple[tuple[str, str], ...]
    framing: Framing
    length: int | None
    """Length of this answer's body in bytes, when it is announced; 0 for HEAD, 204 and 304, which have no body."""
    url: str
    """Where the answer came from, after redirects."""
    server: str
    """The address of the mirror's origin that gave it; empty when no mirror asked."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives; pieces are at most about 1 MiB.

        Raises OriginBroken when the connection ends early, OriginTimeout when it stays silent.
        """
        ...

    def passage(self) -> Passage | None:
        """Another way to the body, instead of ``chunks``, where the connection allows it and the body is worth it."""
        ...

    async def close(self) -> None:
        """Give the connection back if the body was read to its end, else drop it. Idempotent."""
        ...


class Origin(Protocol):
    """Opens origin answers. Every connection passes the SSRF guard; redirects are followed inside."""

    async def open(self, request: OriginRequest) -> OriginResponse:
        """Send the request and return when the answer's headers are there, whatever its status.

        Redirects of GET and HEAD are followed (at most 5 hops, each checked; credentials stay with
        their host), returned as they are, or refused, as the request says. Raises RedirectRefused,
        OriginUnreachable, OriginTimeout, OriginBroken (the connection ended before an answer), OriginBusy (no turn
        came in time), OriginProtocol, ForbiddenAddress, TooManyRedirects, InvalidUrl, SecretKeyWrong.
        """
        ...


@dataclass(frozen=True, slots=True)
class OriginState:
    """How an origin of a mirror does in this process.

    ``wait``: seconds until it is asked again, 0 when it may be asked now. ``ends`` counts its requests by how they
    ended: a class of statuses, or an error's code.
    """

    mirror: str
    url: str
    circuit: Circuit
    wait: float
    failures: int
    running: int
    waiting: int
    credentials: CredentialKind | None
    ends: Mapping[str, int]


class OriginStates(Protocol):
    """What is known of the mirrors' origins."""

    def states(self, mirror: str | None = None) -> Sequence[OriginState]:
        """The state of every origin of a mirror, as they are written; None: of all that have been asked."""
        ...
