"""Transfers: the durable movement of bytes to a key, its states, and when to try again.

    queued ──> fetching ──> verifying ──> storing ──> success
      ^           │             │            │
      └── retry ──┴─────────────┴────────────┘  (retryable error, attempts left)
      any phase ──> fail                         (final error, attempts used up, cancelled)

The wire shows ``inprogress`` for all four phases, then ``success`` or ``fail``, for ever.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from cephstorage.domain.names import BucketName
from cephstorage.domain.policy import NO_TERMS, Terms
from cephstorage.domain.records import NO_PRECONDITION, Metadata, OriginFacts, Precondition
from cephstorage.domain.validators import Validators


class State(StrEnum):
    """The wire state, shown as ``progress``."""

    INPROGRESS = "inprogress"
    SUCCESS = "success"
    FAIL = "fail"


class Phase(StrEnum):
    """What an ``inprogress`` transfer is doing."""

    QUEUED = "queued"
    FETCHING = "fetching"
    VERIFYING = "verifying"
    STORING = "storing"
    ENDED = "ended"


class Kind(StrEnum):
    """Who began the transfer: a create-from-URL, an upload, a mirror miss, a warm-up, or a copy within the store."""

    FETCH = "fetch"
    UPLOAD = "upload"
    FILL = "fill"
    WARM = "warm"
    COPY = "copy"


SERVED = (Kind.FILL, Kind.UPLOAD)
"""What requests begin: it runs in a process that serves, where its readers are and its spool is."""


class Claims(StrEnum):
    """Which transfers that nobody holds a process takes: every kind, those that requests begin, or all others."""

    ALL = "all"
    SERVED = "served"
    BACKGROUND = "background"


LEGAL: dict[Phase, frozenset[Phase]] = {
    Phase.QUEUED: frozenset({Phase.FETCHING, Phase.ENDED}),
    Phase.FETCHING: frozenset({Phase.QUEUED, Phase.FETCHING, Phase.VERIFYING, Phase.ENDED}),
    Phase.VERIFYING: frozenset({Phase.QUEUED, Phase.FETCHING, Phase.STORING, Phase.ENDED}),
    Phase.STORING: frozenset({Phase.QUEUED, Phase.FETCHING, Phase.STORING, Phase.ENDED}),
    Phase.ENDED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class CopySource:
    """The version that a copy is made of. ``moves``: it goes when the copy comes, at once, or neither happens."""

    bucket: BucketName
    key: str
    generation: int
    store_version: str
    moves: bool = False


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """What is wanted: bytes from ``url`` (None for an upload) at ``key``, under these expectations.

    ``target`` and ``mirror_host`` are set for fills. ``seen_generation`` is the version a fill means
    to replace (0: none): a fill whose key has moved on since must be decided again. ``headers`` of the client are
    shown to the origin with every request, so that all bytes are of one variant. ``userinfo`` is what stood before the
    host of ``url``, sealed: user name and password. ``metadata`` and ``expires`` (epoch seconds) go into the record.
    """

    kind: Kind
    bucket: BucketName
    key: str
    url: str | None = None
    content_type: str | None = None
    md5: str | None = None
    timetag: float | None = None
    precondition: Precondition = NO_PRECONDITION
    mirror_host: str | None = None
    target: str | None = None
    seen_generation: int = 0
    rewrite_links: tuple[str, str] | None = None
    terms: Terms = NO_TERMS
    headers: tuple[tuple[str, str], ...] = ()
    userinfo: str = field(default="", repr=False)
    metadata: Metadata = ()
    expires: float | None = None
    copy_of: CopySource | None = None


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What the source said of the object when its first answer came: kept for resuming under the same validator.

    ``declared`` are the digests that the origin promised: pairs of algorithm and hex value. ``server`` is the address
    of the mirror's origin that said it.
    """

    url: str
    length: int | None
    resume_validator: str | None
    public: Validators
    content_type: str
    origin: OriginFacts | None = None
    declared: tuple[tuple[str, str], ...] = ()
    server: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is about to be stored, written before the store commit so that a crash can be told apart after it."""

    size: int
    md5: str
    content_type: str
    ts: float
    public: Validators
    store_version: str
    source: str
    origin: OriginFacts | None = None
    metadata: Metadata = ()
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Transfer:
    """The durable row of a transfer. ``token`` is its public name; ``id`` names its files; times are epoch seconds."""

    id: str
    token: str
    request: TransferRequest
    state: State
    phase: Phase
    created_at: float
    updated_at: float
    ended_at: float | None = None
    bytes_done: int = 0
    bytes_total: int | None = None
    attempts: int = 0
    not_before: float = 0.0
    error_code: str | None = None
    error_msg: str | None = None
    owner: str | None = None
    fence: int = 0
    lease_until: float = 0.0
    source: SourceFacts | None = None
    plan: Plan | None = None

    def with_bytes(self, done: int, total: int | None) -> "Transfer":
        """The same transfer with fresher byte counts."""
        return replace(self, bytes_done=done, bytes_total=total if total is not None else self.bytes_total)


@dataclass(frozen=True, slots=True)
class Lease:
    """Proof that ``owner`` may act for the transfer. A higher fence elsewhere makes it void."""

    transfer_id: str
    owner: str
    fence: int


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again: in the upper half of an exponential bound (equal jitter), at most ``attempts`` tries. Seconds."""

    attempts: int = 8
    base: float = 0.5
    cap: float = 60.0

    def delay(self, attempt: int, chance: float, retry_after: float | None = None) -> float | None:
        """Seconds until the try after number ``attempt`` (1 is the first); None when there is none.

        ``chance`` is a random number in [0, 1). The origin's Retry-After is a lower bound, itself
        bounded by an hour so that a hostile origin can't park a transfer for ever.
        """
        if attempt >= self.attempts:
            return None
        bound: float = min(self.cap, self.base * 2.0 ** min(attempt - 1, 64))
        return float(max(bound * (0.5 + chance / 2), min(retry_after or 0.0, 3600.0)))
