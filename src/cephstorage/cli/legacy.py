"""``import-legacy``: the original CephStorage's exported documents and its buckets in Ceph, taken over."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cephstorage.cli.exits import ExitCode, Failure
from cephstorage.cli.places import only_bucket
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

if TYPE_CHECKING:
    from cephstorage.domain.names import BucketName
    from cephstorage.services.legacy.findings import Finding, Told

app = typer.Typer()


class Unlisted(StrEnum):
    """What to do with objects that no document speaks of."""

    REPORT = "report"
    ADOPT = "adopt"
    IGNORE = "ignore"


@verb(app, "import-legacy")
def import_legacy(
    session: Session,
    paths: Annotated[
        list[str] | None, typer.Argument(help="What mongoexport wrote; a folder of such files; '-': standard input.")
    ] = None,
    *,
    bucket: Annotated[
        str | None, typer.Option(help="USERNAME/BUCKETNAME of keys whose file and document name none.")
    ] = None,
    scan: Annotated[
        list[str] | None, typer.Option(help="Look through this USERNAME/BUCKETNAME in Ceph, too; repeatable.")
    ] = None,
    unlisted: Annotated[Unlisted, typer.Option(help="Objects that no document speaks of.")] = Unlisted.REPORT,
    report: Annotated[
        Path | None, typer.Option(help="Write what needs attention to this file, as JSON, one a line.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Write to the report what is fine, too.")] = False,
    skip_known: Annotated[
        bool, typer.Option("--skip-known", help="Do not ask Ceph about keys that the index has.")
    ] = False,
    read: Annotated[bool, typer.Option("--read", help="Hash objects whose ETag is no md5.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; say what would be done.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Questions to Ceph at a time.")] = 32,
) -> ExitCode:
    """Take over the original CephStorage: exported collections, and its buckets in Ceph.

    Runs on this machine, beside the service if it likes. No object is written, moved or removed; nothing that the
    index has is replaced; it may be run again. The exit code is 1 when something needs attention.
    """
    from cephstorage.bootstrap.legacy import files_of, lines_of
    from cephstorage.bootstrap.legacy import import_legacy as run
    from cephstorage.domain.errors import CephStorageError
    from cephstorage.services.legacy.findings import Wishes

    wishes = Wishes(dry_run, skip_known, read, {"adopt": True, "report": False}.get(unlisted), concurrency)
    try:
        scanned = [_bucket(name) for name in scan or ()]
        lines = lines_of(files_of(paths or ()), _bucket(bucket) if bucket else None)
        with _writer(report, everything=everything) as tell:
            told = session.here(run(session.settings, lines, scanned, wishes, tell))
    except CephStorageError as error:
        code = ExitCode.UNAVAILABLE if error.retryable else ExitCode.FAILED
        advice = " What was done stays: run it again, with --skip-known to go on quickly." if error.retryable else ""
        raise Failure(f"{error.msg}{advice}", code, error.code) from error
    session.output.document(_shown(told, dry_run=dry_run), _said(told, dry_run=dry_run))
    return ExitCode.OK if told.fine else ExitCode.FAILED


def _bucket(name: str) -> "BucketName":
    from cephstorage.domain.names import BucketName

    place = only_bucket(name)
    return BucketName(place.username, place.bucketname)


@contextlib.contextmanager
def _writer(report: Path | None, *, everything: bool) -> "Iterator[Callable[[Finding], None]]":
    """Writes findings to the report, or what needs attention to standard error."""
    from cephstorage.services.legacy.findings import FINE

    with contextlib.ExitStack() as stack:
        stream = (
            stack.enter_context(report.open("w", encoding="utf-8", errors="backslashreplace")) if report else sys.stderr
        )

        def tell(finding: "Finding") -> None:
            if finding.outcome not in FINE or (everything and report is not None):
                print(json.dumps(_line(finding), ensure_ascii=report is None), file=stream)

        yield tell


def _line(finding: "Finding") -> dict[str, str | int]:
    fields: dict[str, str | int] = {"outcome": finding.outcome.value, "kind": finding.kind}
    others = {name: getattr(finding, name) for name in ("file", "line", "bucket", "name", "msg")}
    return fields | {name: value for name, value in others.items() if value}


def _shown(told: "Told", *, dry_run: bool) -> dict[str, object]:
    counts: dict[str, dict[str, int]] = {}
    for (kind, outcome), count in sorted(told.counts.items()):
        counts.setdefault(str(kind), {})[outcome.value] = count
    return {"dry_run": dry_run, "fine": told.fine, "counts": counts, "unread_fields": dict(told.unread)}


def _said(told: "Told", *, dry_run: bool) -> str:
    lines = ["Nothing was changed (--dry-run)."] if dry_run else []
    lines += [f"{count:>10}  {kind} {outcome}" for (kind, outcome), count in sorted(told.counts.items())]
    if told.unread:
        lines.append(f"Fields that mean nothing here: {', '.join(sorted(told.unread))}")
    return "\n".join(lines) if lines else "There was nothing to import."
