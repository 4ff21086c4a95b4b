"""What transfers stand on and how they are told to work; and how a new one gets its names."""

import random
import secrets
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

from cephstorage.domain.digests import Digest
from cephstorage.domain.transfers import Claims, RetryPolicy, TransferRequest
from cephstorage.ports.index import LandingIndex
from cephstorage.ports.ledger import NewTransfer, TransferLedger
from cephstorage.ports.origin import Origin
from cephstorage.ports.store import Store
from cephstorage.transfer.digest import hashing_threads
from cephstorage.transfer.presence import Presence
from cephstorage.transfer.room import Refusals
from cephstorage.transfer.spools import SpoolDirectory

_PATIENT = RetryPolicy()
Expected = Callable[[TransferRequest], Awaitable[tuple[Digest, ...]]]


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the engine works. Times in seconds."""

    lease: float = 15.0
    concurrency: int = 16
    claims: Claims = Claims.ALL
    retry: RetryPolicy = _PATIENT
    max_object_size: int = 1 << 43
    upload_patience: float = 30.0
    """How long an upload, whose client waits, lets the store fail."""
    fill_patience: float = 600.0
    """How long a fill, whose readers have its bytes already, lets the store fail before it is queued again."""


@dataclass(slots=True)
class Parts:
    """What the engine stands on."""

    ledger: TransferLedger
    landing: LandingIndex
    store: Store
    origin: Origin
    spools: SpoolDirectory
    presence: Presence
    clock: Callable[[], float]
    chance: Callable[[], float] = field(default=random.random)
    hashing: Executor = field(default_factory=hashing_threads)
    expected: Expected = field(default=lambda _: _nothing())
    """What a fill's bytes must match by a rule of its mirror; asked for while its first answer is on its way."""
    refusals: Refusals = field(default_factory=Refusals)
    on_ended: Callable[[TransferRequest, str, int], None] = lambda *_: None
    """Told the end ("landed", "nothing", or an error code) of every attempt, and the bytes that it brought."""

    @property
    def owner(self) -> str:
        """The name under which this process holds leases."""
        return self.presence.owner


async def _nothing() -> tuple[Digest, ...]:
    return ()


def new_transfer(
    request: TransferRequest, fingerprint: str | None = None, idempotency_key: str | None = None
) -> NewTransfer:
    """Draw a transfer's names: a file-safe id, and a token that can't be guessed nor taken for a command line's option."""
    return NewTransfer(uuid.uuid4().hex, secrets.token_hex(32), request, fingerprint, idempotency_key)
