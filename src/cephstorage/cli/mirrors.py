"""``mirror add | ls | rm | sign`` and ``explain``. ``add`` is long because its signature is the list of its options."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cephstorage.cli.exits import ExitCode
from cephstorage.cli.origins import all_origins
from cephstorage.cli.output import printable, readable_size, readable_time
from cephstorage.cli.output import shown as as_text
from cephstorage.cli.places import Place, only_bucket
from cephstorage.cli.rules import parse_rule, read_policy
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

if TYPE_CHECKING:
    from cephstorage_client import MirrorOptions

app = typer.Typer(no_args_is_help=True)
explain_app = typer.Typer()
COLUMNS = {"mirror_host": "HOST", "bucket_name": "BUCKET", "real_host": "ORIGIN", "mode": "MODE", "preset": "PRESET"}


@verb(app, "add")
def add(
    session: Session,
    host: Annotated[str, typer.Argument(help="Host name that clients will use.", metavar="HOST")],
    origin: Annotated[str, typer.Argument(help="Host or URL of the provider's server.", metavar="ORIGIN")],
    bucket: Annotated[
        str, typer.Argument(help="USERNAME/BUCKETNAME that keeps the objects; made if missing.", metavar="BUCKET")
    ],
    *,
    preset: Annotated[
        str | None, typer.Option(help="Rules of a known ecosystem: debian, pypi, npm, maven, generic-static, website.")
    ] = None,
    mode: Annotated[str | None, typer.Option(help="permanent, origin, immutable, revalidate, bypass or deny.")] = None,
    ttl: Annotated[float | None, typer.Option(help="Seconds until revalidate asks the origin again.")] = None,
    query: Annotated[str | None, typer.Option(help="Query strings in keys: include, ignore or listed.")] = None,
    query_name: Annotated[list[str] | None, typer.Option(help="A name for --query listed; repeatable.")] = None,
    cookies: Annotated[str | None, typer.Option(help="Answers with Set-Cookie: pass (unstored) or drop.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Readers need a token.")] = False,
    files_origin: Annotated[str | None, typer.Option(help="Preset pypi: where the files themselves lie.")] = None,
    negative_ttl: Annotated[float | None, typer.Option(help="Seconds that a 404 or 410 is remembered.")] = None,
    max_size: Annotated[int | None, typer.Option(help="Bytes; what is larger is passed through.")] = None,
    finish_from: Annotated[
        float | None, typer.Option(help="Percentage from which on a fill ends that nobody reads; 0: always.")
    ] = None,
    redirects: Annotated[str | None, typer.Option(help="The origin's redirects: follow, pass or refuse.")] = None,
    digest: Annotated[
        str | None,
        typer.Option(
            help="What bytes must match: .sha512, .sha256, .sha1, .md5 beside the file; by-hash; npm; pypi; packages."
        ),
    ] = None,
    methods: Annotated[str | None, typer.Option(help="Requests other than GET and HEAD: refuse or pass.")] = None,
    heuristic: Annotated[
        bool | None, typer.Option(help="Mode origin: guess how long answers are fresh that do not say so.")
    ] = None,
    client_control: Annotated[
        bool | None, typer.Option(help="Mode origin: honour the cache directives of requests.")
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            help="PATTERN=MODE or PATTERN=MODE:TTL; PATTERN is a glob, or prefix:, suffix:, regex:, type:, status: and what follows. Repeatable."
        ),
    ] = None,
    rules_file: Annotated[
        Path | None, typer.Option(help="TOML ([[rules]] tables) or JSON, with the fields that the API takes.")
    ] = None,
    next_origin: Annotated[
        list[str] | None,
        typer.Option(help="An origin that is asked when those before fail; repeatable.", metavar="URL"),
    ] = None,
    origins_file: Annotated[
        Path | None, typer.Option(help="JSON list of origins with options and credentials, as the API takes them.")
    ] = None,
    choice: Annotated[str | None, typer.Option(help="Which origin is first: ordered or weighted.")] = None,
    failover_status: Annotated[
        list[int] | None, typer.Option(help="After this status, too, the next origin is asked, e.g. 404; repeatable.")
    ] = None,
) -> ExitCode | None:
    """Create a mirror, or replace it."""
    written = read_policy(rules_file) if rules_file is not None else {}
    rules = [parse_rule(text) for text in rule or ()] + written.pop("rules", [])
    options: MirrorOptions = {"mode": mode, "ttl": ttl, "query": query, "query_names": query_name, "cookies": cookies}
    options |= {"negative_ttl": negative_ttl, "max_size": max_size, "finish_from": finish_from, "redirects": redirects}
    options |= {"digest": digest, "preset": preset, "files_origin": files_origin, "private": private or None}
    options |= {"choice": choice, "failover_statuses": failover_status}
    if next_origin or origins_file:
        options["origins"] = all_origins(origin, next_origin or [], origins_file)
    options |= {"methods": methods, "heuristic": heuristic, "client_control": client_control}
    given = {name: value for name, value in options.items() if value is not None}
    with session.connect() as client:
        policy = cast("MirrorOptions", {**written, **given, "rules": rules or None})
        mirror = client.put_mirror(host, origin, full_name(only_bucket(bucket)), **policy)
    session.output.document(mirror, printable(f"{mirror['mirror_host']} -> {mirror['real_host']}"))
    return None


def full_name(place: Place) -> str:
    """The store name of a bucket."""
    return f"{place.username}___{place.bucketname}"


@verb(app, "ls")
def ls(
    session: Session,
    bucket: Annotated[
        str | None, typer.Argument(help="Only mirrors of this USERNAME/BUCKETNAME.", metavar="BUCKET")
    ] = None,
) -> ExitCode | None:
    """List mirrors."""
    with session.connect() as client:
        session.output.table(client.mirrors(full_name(only_bucket(bucket)) if bucket else None), COLUMNS)
    return None


@verb(app, "rm")
def rm(
    session: Session, host: Annotated[str, typer.Argument(help="Host name of the mirror.", metavar="HOST")]
) -> ExitCode | None:
    """Delete a mirror. What it has stored stays in its bucket."""
    with session.connect() as client:
        client.delete_mirror(host)
    session.output.document({"mirror_host": host, "msg": "mirror_deleted"})
    return None


@verb(app, "sign")
def sign(
    session: Session,
    address: Annotated[str, typer.Argument(help="http://MIRROR-HOST/path, as clients will ask.", metavar="URL")],
    *,
    expires_in: Annotated[int | None, typer.Option(help="Seconds; default: that of published URLs.")] = None,
) -> ExitCode | None:
    """Print an address of a private mirror that anybody can read until it expires."""
    with session.connect() as client:
        url = client.sign_mirror_url(address, expires_in)
    session.output.document({"url": url}, printable(url))
    return None


@verb(explain_app, "explain")
def explain(
    session: Session,
    address: Annotated[str, typer.Argument(help="http://MIRROR-HOST/path", metavar="URL")],
    ask: Annotated[bool, typer.Option("--ask", help="Ask the origin, too (HEAD).")] = False,
) -> ExitCode | None:
    """Say what a mirror would do with a URL, and why, from the edges to the origin."""
    with session.connect() as client:
        told = client.explain(address, ask=ask)
    if session.json:
        session.output.document(told)
    else:
        session.output.fields(_for_people(told))
    return None


def _for_people(told: Mapping[str, Any]) -> dict[str, Any]:
    """An explanation, one thing a line."""
    left_out = {"rule_number", "origins"}
    shown = {
        name: value
        for name, value in told.items()
        if value is not None and not isinstance(value, dict) and name not in left_out
    }
    if record := told["record"]:
        marked = (
            f", to be confirmed since {readable_time(record['invalidated_at'])}" if record["invalidated_at"] else ""
        )
        shown["copy"] = f"{readable_size(record['size'])}, {record['content_type']}, md5 {record['md5']}"
        shown["stored"] = f"{readable_time(record['ts'])}, confirmed {readable_time(record['validated_at'])}{marked}"
        shown["validators"] = f"ETag {as_text(record['etag'])}, Last-Modified {as_text(record['last_modified'])}"
    for name in ("freshness", "origin"):
        if told.get(name):
            parts = [f"{part} {as_text(value)}" for part, value in told[name].items() if value is not None]
            shown[name] = ", ".join(parts)
    for number, origin in enumerate(told["origins"], start=1):
        rest = f", asked again in {origin['wait']} s" if origin["wait"] else ""
        shown[f"origin {number}"] = f"{origin['url']}: circuit {origin['circuit']}{rest}"
    shown["edge"] = f"would keep it for {told['edge']['lifetime']} seconds"
    words = {True: "keeps it", False: "does not keep it", None: "does not answer"}
    for number, edge in enumerate(told["edge"]["edges"], start=1):
        shown[f"edge {number}"] = f"{edge['edge']} {words[edge['keeps']]}"
    return shown
