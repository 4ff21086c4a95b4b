"""``purge`` and ``mirror purge | verify | warm | jobs | job | usage``: a mirror's copies, and what they are good for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from cephstorage.cli import mirrors
from cephstorage.cli.exits import ExitCode, Failure, UsageMistake
from cephstorage.cli.output import printable, readable_size, readable_time
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

if TYPE_CHECKING:
    from cephstorage_client import Client, Job

app, purge_app = mirrors.app, mirrors.explain_app
Host = Annotated[str, typer.Argument(help="Host name of the mirror.", metavar="HOST")]
Key = Annotated[str | None, typer.Option(help="One key.")]
Prefix = Annotated[str | None, typer.Option(help="All keys that begin so.")]
ContentType = Annotated[str | None, typer.Option(help="Only this type; TYPE/* for all of a kind.")]
OlderThan = Annotated[float | None, typer.Option(help="Only what was stored more than so many seconds ago.")]
EdgesOnly = Annotated[bool, typer.Option("--edges-only", help="Stored copies stay; only the edges forget them.")]
Soft = Annotated[bool, typer.Option("--soft", help="Copies stay; the origin is asked before they are used again.")]
Refresh = Annotated[bool, typer.Option("--refresh", help="Copies stay; the origin is asked for each of them now.")]
Concurrency = Annotated[int | None, typer.Option(help="Requests to the origin at a time; default 4.")]
Rate = Annotated[float | None, typer.Option(help="Requests to the origin a second, at most.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the work to its end.")]
COLUMNS = {"job": "JOB", "kind": "KIND", "state": "STATE", "created": "CREATED", "counts": "COUNTS"}
USAGE_COLUMNS = {
    "time": "TIME",
    "requests": "REQUESTS",
    "edge_hits": "EDGE HITS",
    "store_hits": "STORE HITS",
    "collapsed": "COLLAPSED",
    "fills": "FILLS",
    "bytes_served": "SERVED",
    "origin_bytes": "ORIGIN",
}
_SHOWN_ERRORS = 5


@verb(purge_app, "purge")
def purge_address(
    session: Session,
    address: Annotated[str, typer.Argument(help="http://MIRROR-HOST/path", metavar="URL")],
    *,
    edges_only: EdgesOnly = False,
    soft: Soft = False,
    refresh: Refresh = False,
) -> ExitCode | None:
    """Remove the copy of an address from the store and every edge. Exit code 5 when an edge did not answer."""
    parts = urlsplit(address)
    if not parts.netloc:
        raise UsageMistake(f"{address!r} names no mirror: write http://MIRROR-HOST/path.")
    host = parts.netloc.rpartition("@")[2]
    with session.connect() as client:
        purged = client.purge(host, _written(address), edges_only=edges_only, soft=soft, refresh=refresh)
        ended = client.wait_for_job(purged["job"])
    session.output.fields({**purged, "state": ended["state"], "counts": ended["counts"], "errors": ended["errors"]})
    if ended["state"] == "fail" or ended["counts"].get("failed"):
        return ExitCode.FAILED
    return ExitCode.UNAVAILABLE if purged["later"] else None


def _written(address: str) -> str:
    """Path and query as they were written."""
    rest = address.partition("://")[2].partition("#")[0]
    start = next((place for place, character in enumerate(rest) if character in "/?"), len(rest))
    return rest[start:] if rest[start : start + 1] == "/" else f"/{rest[start:]}"


@verb(app, "purge")
def purge(
    session: Session,
    host: Host,
    *,
    key: Key = None,
    prefix: Prefix = None,
    content_type: ContentType = None,
    older_than: OlderThan = None,
    everything: Annotated[bool, typer.Option("--all", help="Every copy of the mirror.")] = False,
    edges_only: EdgesOnly = False,
    soft: Soft = False,
    refresh: Refresh = False,
    concurrency: Concurrency = None,
    rate: Rate = None,
    wait: Wait = True,
) -> ExitCode | None:
    """Remove a mirror's copies from the store and every edge. What tenants have uploaded stays.

    Exit code 5 when an edge did not answer: it is told when it does.
    """
    with session.connect() as client:
        job = client.purge(
            host,
            key=key,
            prefix=prefix,
            content_type=content_type,
            older_than=older_than,
            all=everything,
            edges_only=edges_only,
            soft=soft,
            refresh=refresh,
            concurrency=concurrency,
            rate=rate,
        )
        return _follow(session, client, job, wait=wait)


@verb(app, "verify")
def verify(
    session: Session,
    host: Host,
    *,
    key: Key = None,
    prefix: Prefix = None,
    content_type: ContentType = None,
    older_than: OlderThan = None,
    repair: Annotated[
        bool, typer.Option("--repair/--no-repair", help="Fetch again what is damaged or missing.")
    ] = True,
    byte_rate: Annotated[float | None, typer.Option(help="Bytes read from the store a second, at most.")] = None,
    concurrency: Concurrency = None,
    rate: Rate = None,
    wait: Wait = True,
) -> ExitCode | None:
    """Read and hash a mirror's copies again; what is damaged or missing is removed and fetched again.

    Exit code 1 when a copy is bad and could not be, or was not to be, repaired.
    """
    with session.connect() as client:
        job = client.verify(
            host,
            key=key,
            prefix=prefix,
            content_type=content_type,
            older_than=older_than,
            repair=repair,
            byte_rate=byte_rate,
            concurrency=concurrency,
            rate=rate,
        )
        return _follow(session, client, job, wait=wait)


@verb(app, "warm")
def warm(
    session: Session,
    host: Host,
    *,
    listed: Annotated[Path | None, typer.Option("--list", help="File with a URL or path in each line.")] = None,
    sitemap: Annotated[str | None, typer.Option(help="URL or path of a sitemap, or of an index of sitemaps.")] = None,
    packages: Annotated[str | None, typer.Option(help="URL or path of a Debian Packages index (.gz, .xz).")] = None,
    folder: Annotated[str | None, typer.Option(help="URL or path of a folder whose page lists what it holds.")] = None,
    depth: Annotated[
        int | None, typer.Option(help="Levels of folders or sitemaps that are followed; default 8.")
    ] = None,
    most: Annotated[int | None, typer.Option(help="Items in all, at most; default 100000.")] = None,
    concurrency: Concurrency = None,
    rate: Rate = None,
    wait: Wait = True,
) -> ExitCode | None:
    """Fetch what a list, a sitemap, a Packages index or a folder names, before anybody asks for it."""
    targets = listed.read_text().splitlines() if listed is not None else None
    with session.connect() as client:
        job = client.warm(
            host,
            targets,
            sitemap=sitemap,
            packages=packages,
            folder=folder,
            depth=depth,
            most=most,
            concurrency=concurrency,
            rate=rate,
        )
        return _follow(session, client, job, wait=wait)


@verb(app, "jobs")
def jobs(session: Session, host: Host) -> ExitCode | None:
    """List a mirror's jobs, newest first."""
    with session.connect() as client:
        found = client.jobs(host)
    rows = found if session.json else [{**job, "created": readable_time(job["created"])} for job in found]
    session.output.table(rows, COLUMNS)
    return None


@verb(app, "job")
def job(
    session: Session,
    job: Annotated[str, typer.Argument(help="The job's id.", metavar="JOB")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait until it has ended.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel it.")] = False,
) -> ExitCode | None:
    """Show how far a job is, follow it, or cancel it."""
    with session.connect() as client:
        if cancel:
            client.cancel_job(job)
            session.output.document({"job": job, "msg": "job_cancelled"}, "cancelled")
            return None
        return _follow(session, client, client.job(job), wait=follow)


@verb(app, "usage")
def usage(
    session: Session,
    host: Host,
    *,
    since: Annotated[float, typer.Option(help="How many seconds back.")] = 3600.0,
    step: Annotated[float | None, typer.Option(help="Seconds between two points, which are then shown, too.")] = None,
) -> ExitCode | None:
    """Show a mirror's requests, hits, bytes and errors, of every process and edge."""
    with session.connect() as client:
        told = client.mirror_usage(host, since=-since, step=step)
    if session.json:
        session.output.document(told)
        return None
    sizes = ("bytes_served", "edge_hit_bytes", "origin_bytes")
    plain: dict[str, Any] = {name: value for name, value in told.items() if name != "series"}
    plain |= {name: readable_size(plain[name]) for name in sizes}
    plain |= {name: readable_time(plain[name]) for name in ("since", "until")}
    session.output.fields(plain)
    if step is not None:
        rows = [{**point, "time": readable_time(point["time"])} for point in told["series"]]
        session.output.table(rows, USAGE_COLUMNS)
    return None


def _follow(session: Session, client: "Client", begun: "Job", *, wait: bool) -> ExitCode | None:
    """Wait for the end of a job, saying now and then how far it is; then show it."""
    state = begun
    if wait and begun["state"] == "inprogress":
        last = ""

        def on_progress(job: "Job") -> None:
            nonlocal last
            if not session.json and (line := _counts(job)) != last:
                session.output.remark(line)
                last = line

        try:
            state = client.wait_for_job(begun["job"], on_progress=on_progress, interval=1.0)
        except KeyboardInterrupt:
            session.output.remark(f"The job goes on. See it with: cephstorage mirror job {begun['job']} --follow")
            raise
    return _shown(session, state)


def _shown(session: Session, job: "Job") -> ExitCode | None:
    session.output.document(job, "\n".join(_lines(job)))
    if job["state"] == "fail":
        fault = job["error"] or {"code": "failed", "msg": "The job failed."}
        raise Failure(f"{fault['code']}: {fault['msg']}", ExitCode.FAILED, fault["code"])
    counts = job["counts"]
    bad = counts.get("damaged", 0) + counts.get("missing", 0)
    if counts.get("failed") or counts.get("unrepaired") or (bad and "repaired" not in counts):
        return ExitCode.FAILED
    late = any(edge["pending"] or edge["unreachable"] for edge in job["edges"])
    return ExitCode.UNAVAILABLE if late and job["state"] == "success" else None


def _counts(job: "Job") -> str:
    counts = [f"{name} {readable_size(n) if name == 'bytes' else n}" for name, n in job["counts"].items()]
    return "  ".join([job["kind"], job["state"], *counts])


def _lines(job: "Job") -> list[str]:
    lines = [f"{_counts(job)}  ({job['job']})"]
    lines += [
        f"{edge['edge']}  told {edge['told']}  pending {edge['pending']}  unreachable {edge['unreachable']}"
        for edge in job["edges"]
    ]
    lines += [f"{error['what']}: {error['code']}: {error['msg']}" for error in job["errors"][:_SHOWN_ERRORS]]
    more = len(job["errors"]) - _SHOWN_ERRORS
    return [printable(line) for line in [*lines, *([f"and {more} more errors"] if more > 0 else [])]]
