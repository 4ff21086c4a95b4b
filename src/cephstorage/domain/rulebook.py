"""Whether the rules of a mirror make sense, each told by its number and field.

Numbers count from 1, in the order of the list that the caller wrote; what a preset adds stands behind them.
"""

import re
from collections.abc import Sequence

from cephstorage.domain.edge import INTERNAL_PREFIX
from cephstorage.domain.errors import InvalidMirror
from cephstorage.domain.expressions import BadExpression, expression
from cephstorage.domain.policy import DigestSource, HeaderChanges, KeyRewrite, Match, Policy, Rule
from cephstorage.domain.storability import HOP_BY_HOP, SERVER_COMMANDS

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_VALUE = re.compile(r"[!-~]([ \t!-~]{0,2000}[!-~])?|")
_MEDIA_TYPE = re.compile(r"[!#$&^_.+*A-Za-z0-9-]{1,100}(/[!#$&^_.+*A-Za-z0-9-]{1,100})?")
_STATUS = re.compile(r"[1-5](\d\d|xx)")
_FRAMING = HOP_BY_HOP | SERVER_COMMANDS | {"content-length", "content-range", "date", "via"}
_CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization"})
_OWN_IN_REQUESTS = frozenset(
    {"accept-encoding", "cdn-loop", "host", "if-match", "if-modified-since", "if-none-match", "if-range"}
    | {"if-unmodified-since", "range"}
)
_OWN_IN_ANSWERS = frozenset(
    {"accept-ranges", "age", "cache-status", "etag", "last-modified", "set-cookie", "set-cookie2"}
)
_OF_REQUESTS = (
    "query", "query_names", "pass_headers", "origin", "rewrite_links", "redirects", "request_headers", "key", "digest",
    "digest_indexes",
    "client_control", "methods", "failover_statuses",
)  # fmt: skip


def check_rules(defaults: Policy, rules: Sequence[Rule], *, private: bool) -> None:
    """Raise InvalidMirror for the first rule, or the mirror's own policy, that makes no sense."""
    _check_changes("The mirror", defaults)
    for number, rule in enumerate(rules, 1):
        _check_pattern(f"Rule {number}", rule)
        _check_changes(f"Rule {number}", rule)
        if private and "authorization" in {name.lower() for name in rule.pass_headers or ()}:
            raise _wrong(
                f"Rule {number}", "pass_headers", "a private mirror's Authorization is this service's own token"
            )


def _wrong(who: str, field: str, why: str) -> InvalidMirror:
    return InvalidMirror(f"{who}, field {field!r}: {why}.")


def _check_pattern(who: str, rule: Rule) -> None:
    field = "path" if rule.match is Match.GLOB else rule.match.value
    if not rule.path:
        raise _wrong(who, field, "it is empty")
    if rule.match is Match.PREFIX and not rule.path.startswith("/"):
        raise _wrong(who, field, "a path begins with '/'")
    if rule.match is Match.REGEX:
        _checked_expression(who, field, rule.path)
    if rule.content_type is not None and not _MEDIA_TYPE.fullmatch(rule.content_type):
        raise _wrong(who, "content_type", f"{rule.content_type!r} is no media type; write text/html or image/*")
    for status in rule.status or ():
        if not _STATUS.fullmatch(status):
            raise _wrong(who, "status", f"{status!r} is no status; write 404 or 5xx")
    if rule.status == ():
        raise _wrong(who, "status", "the list is empty")
    for name in _OF_REQUESTS if rule.of_answers else ():
        if getattr(rule, name) is not None:
            raise _wrong(
                who, name, "it is about the request, so it can't depend on the origin's content_type or status"
            )


def _check_changes(who: str, changes: Policy | Rule) -> None:
    for name in changes.pass_headers or ():
        _check_name(who, "pass_headers", name, frozenset())
    _check_headers(who, "request_headers", changes.request_headers, _OWN_IN_REQUESTS)
    _check_headers(who, "response_headers", changes.response_headers, _OWN_IN_ANSWERS)
    for name, _ in changes.request_headers.set if changes.request_headers is not None else ():
        if name.lower() in _CREDENTIALS:
            raise _wrong(
                who, "request_headers", f"{name} is a credential: it belongs to the origin, where it is kept secret"
            )
    if "content-type" in {name.lower() for name in (changes.response_headers.drop if changes.response_headers else ())}:
        raise _wrong(who, "response_headers", "every answer has a Content-Type; set another one")
    if changes.key is not None:
        _check_rewrite(who, changes.key)
    if changes.digest is DigestSource.PACKAGES and not changes.digest_indexes:
        raise _wrong(who, "digest_indexes", "digest packages needs the paths of Packages indexes")
    if any(not target.startswith("/") or not target.isascii() for target in changes.digest_indexes or ()):
        raise _wrong(
            who, "digest_indexes", "a path at the mirror begins with '/': /debian/dists/x/main/binary-all/Packages.xz"
        )


def _check_headers(who: str, field: str, changes: HeaderChanges | None, own: frozenset[str]) -> None:
    if changes is None:
        return
    for name in (*changes.drop, *(name for name, _ in changes.set)):
        _check_name(who, field, name, own)
    for name, value in changes.set:
        if not _VALUE.fullmatch(value):
            raise _wrong(who, field, f"the value of {name} must be printable ASCII of at most 2000 characters")


def _check_name(who: str, field: str, name: str, own: frozenset[str]) -> None:
    if not _TOKEN.fullmatch(name):
        raise _wrong(who, field, f"{name!r} is no header name")
    if name.lower() in own | _FRAMING or name.lower().startswith(INTERNAL_PREFIX):
        raise _wrong(who, field, f"{name} is written by the mirror itself")


def _check_rewrite(who: str, rewrite: KeyRewrite) -> None:
    if not rewrite.to.startswith("/"):
        raise _wrong(who, "key.to", "a path begins with '/'")
    if "\0" in rewrite.to or len(rewrite.to) > 1024:
        raise _wrong(who, "key.to", "it is no path")
    if rewrite.match is Match.PREFIX:
        if not rewrite.pattern.startswith("/"):
            raise _wrong(who, "key.prefix", "a path begins with '/'")
        return
    groups = _checked_expression(who, "key.regex", rewrite.pattern)
    for part in rewrite.to.split("$")[1:]:
        if not part[:1].isdecimal() or not part[:1].isascii() or not 1 <= int(part[0]) <= groups:
            raise _wrong(who, "key.to", f"'${part[:1]}' is no group of the expression, which has {groups}")


def _checked_expression(who: str, field: str, text: str) -> int:
    """The number of groups. Raises InvalidMirror."""
    try:
        return expression(text).groups
    except BadExpression as error:
        raise _wrong(who, field, str(error)) from error
