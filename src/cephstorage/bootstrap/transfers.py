"""The transfer engine and its housekeeping, put together from adapters and settings."""

from collections.abc import Callable

from cephstorage.bootstrap.adapters import Adapters
from cephstorage.bootstrap.settings import Settings
from cephstorage.bootstrap.spools import known_spools
from cephstorage.domain.transfers import Claims, RetryPolicy, TransferRequest
from cephstorage.transfer.engine import TransferEngine
from cephstorage.transfer.janitor import Janitor
from cephstorage.transfer.parts import EngineOptions, Parts
from cephstorage.transfer.spools import SpoolDirectory
from cephstorage.transfer.sweeper import Sweeper


def make_parts(
    settings: Settings,
    adapters: Adapters,
    clock: Callable[[], float],
    on_ended: Callable[[TransferRequest, str, int], None],
) -> Parts:
    """What transfers stand on. Spools lie in the default folder until the configuration is known."""
    default, quota = settings.default_spool_dir.absolute(), settings.transfer.spool_quota
    return Parts(
        ledger=adapters.index.transfers,
        landing=adapters.index.landing,
        store=adapters.store,
        origin=adapters.origin,
        spools=SpoolDirectory(default, quota, known_spools(settings)),
        presence=adapters.presence,
        clock=clock,
        on_ended=on_ended,
    )


def make_engine(settings: Settings, parts: Parts, *, serves: bool) -> TransferEngine:
    """The engine of a process that serves requests, or of a worker."""
    options = settings.transfer
    return TransferEngine(
        parts,
        EngineOptions(
            lease=options.lease,
            claims=_claims(settings, serves=serves),
            concurrency=options.concurrency,
            retry=RetryPolicy(options.attempts, options.retry_base, options.retry_cap),
            max_object_size=options.max_object_size,
            upload_patience=options.upload_patience,
            fill_patience=options.fill_patience,
        ),
    )


def _claims(settings: Settings, *, serves: bool) -> Claims:
    if not serves:
        return Claims.BACKGROUND
    return Claims.ALL if settings.background else Claims.SERVED


def make_janitor(settings: Settings, parts: Parts, engine: TransferEngine, *, serves: bool) -> Janitor:
    """Who cleans up: after this process, and after all of them unless workers do."""
    for_all = settings.background or not serves
    return Janitor(parts, engine, settings.transfer.progress_retention, _sweeper(settings, parts), for_all)


def _sweeper(settings: Settings, parts: Parts) -> Sweeper:
    """An open file keeps its bytes when they are removed; a reader of Ceph needs them to stay a while."""
    grace = settings.ceph.removal_grace if settings.store == "ceph" else 0.0
    return Sweeper(parts, grace, settings.ceph.abandon_after)
