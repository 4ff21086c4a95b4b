"""``token create | ls | revoke``."""

import re
from typing import Annotated, Any

import typer

from cephstorage.cli.exits import ExitCode, UsageMistake
from cephstorage.cli.output import readable_time
from cephstorage.cli.session import Session
from cephstorage.cli.verbs import verb

app = typer.Typer(no_args_is_help=True)
COLUMNS = {
    "id": "ID",
    "role": "ROLE",
    "username": "USERNAME",
    "label": "LABEL",
    "created": "CREATED",
    "expires": "EXPIRES",
}
_DURATION = re.compile(r"(\d+)([smhdw]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@verb(app, "create")
def create(
    session: Session,
    role: Annotated[str, typer.Option(help="admin, tenant or read-only.")] = "tenant",
    username: Annotated[str | None, typer.Option(help="The only tenant it reaches; default: every tenant.")] = None,
    label: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    expires_in: Annotated[str | None, typer.Option(help="Such as 3600, 12h, 30d; default: never.")] = None,
) -> ExitCode | None:
    """Create an access token and print it. It is never shown again."""
    seconds = None if expires_in is None else duration(expires_in)
    with session.connect() as client:
        made = client.create_token(role, username=username, label=label, expires_in=seconds)
    session.output.document(made, made.get("token"))
    if not session.json:
        session.output.remark(f"id {made['id']}, role {made['role']}, expires {readable_time(made['expires'])}")
    return None


def duration(text: str) -> int:
    """Seconds from a number with an optional unit s, m, h, d or w. Raises UsageMistake."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise UsageMistake(f"{text!r} is no duration: write seconds, or a number with s, m, h, d or w.")
    return int(match[1]) * _SECONDS[match[2]]


@verb(app, "ls")
def ls(session: Session) -> ExitCode | None:
    """List access tokens, without the secrets."""
    with session.connect() as client:
        tokens = client.tokens()
    rows: list[dict[str, Any]] = [dict(token) for token in tokens]
    if not session.json:
        for row in rows:
            row |= {"created": readable_time(row["created"]), "expires": readable_time(row["expires"])}
    session.output.table(rows, COLUMNS)
    return None


@verb(app, "revoke")
def revoke(
    session: Session, token_id: Annotated[str, typer.Argument(help="Id of the token.", metavar="ID")]
) -> ExitCode | None:
    """Revoke an access token."""
    with session.connect() as client:
        client.revoke_token(token_id)
    session.output.document({"id": token_id, "msg": "token_revoked"})
    return None
