"""The command line: one program, verbs by family, every verb over the HTTP API.

Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 refused, 5 service unreachable or unavailable,
6 conflict or precondition, 130 interrupted with Ctrl-C.
"""

import sys
from typing import Annotated

import typer

from cephstorage.cli import (
    buckets,
    bulk,
    configuration,
    consistency,
    copies,
    database,
    downloads,
    edge,
    keys,
    legacy,
    mirrors,
    operations,
    quotas,
    reindex,
    tokens,
    transfers,
    trash,
    uploads,
    webhooks,
    within,
)
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import Json

app = typer.Typer(
    name="cephstorage",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _verbs in (
    uploads.app,
    downloads.app,
    transfers.app,
    keys.app,
    within.app,
    bulk.app,
    mirrors.explain_app,
    operations.app,
    reindex.app,
    legacy.app,
):
    app.add_typer(_verbs)
app.add_typer(buckets.app, name="bucket", help="Buckets: create, ls, rm, lifecycle; follow, unfollow, following.")
app.add_typer(trash.app, name="trash", help="What was deleted and may come back: ls, restore, empty.")
app.add_typer(bulk.deletion_app, name="deletion", help="Deletions in the background: ls, show, cancel.")
app.add_typer(copies.app, name="mirror", help="Mirrors: add, ls, rm, sign; purge, verify, warm; jobs, job; usage.")
app.add_typer(copies.app, name="mirrors", hidden=True)
app.add_typer(edge.app, name="edge", help="The edge (nginx): render, check, run, reload.")
app.add_typer(configuration.app, name="config", help="Settings while it runs: ls, get, set, unset.")
app.add_typer(consistency.app, name="consistency", help="Index and store: show, run, findings, check.")
app.add_typer(database.app, name="db", help="The database: upgrade, copy.")
app.add_typer(quotas.app, name="quota", help="Quotas of tenants and buckets: ls, show, set, rm.")
app.add_typer(
    webhooks.app, name="webhook", help="Webhooks: create, ls, show, set, rm, test, rotate; dead, redeliver, drop."
)
app.add_typer(tokens.app, name="token", help="Access tokens: create, ls, revoke.")


@app.callback(
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 refused, 5 unavailable, 6 conflict, 130 Ctrl-C."
)
def main(
    ctx: typer.Context,
    url: Annotated[
        str | None,
        typer.Option(help="Address of the service; default: this machine's.", envvar="CEPHSTORAGE_URL", metavar="URL"),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="Access token; default: this machine's admin token.", envvar="CEPHSTORAGE_TOKEN", metavar="TOKEN"
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Key storage and permanent mirror.

    Things are addressed as USERNAME/BUCKETNAME and USERNAME/BUCKETNAME/KEY.
    """
    ctx.obj = Session(url, token, json)


def run() -> None:
    """Run the command line; the entry point of the ``cephstorage`` script."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app(prog_name="cephstorage")
