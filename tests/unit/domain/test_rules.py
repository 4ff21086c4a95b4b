"""Rules: which one holds for a path and an answer, what it changes, and which rules make no sense."""

from dataclasses import replace
from typing import Any

import pytest

from cephstorage.domain.errors import InvalidKey, InvalidMirror
from cephstorage.domain.mirrors import Mirror, read_target, source_url
from cephstorage.domain.names import BucketName
from cephstorage.domain.policy import (
    Cookies,
    DigestSource,
    HeaderChanges,
    KeyRewrite,
    Match,
    Mode,
    OriginAnswer,
    Policy,
    Query,
    Redirects,
    Rule,
)
from cephstorage.domain.presets import preset_rules
from cephstorage.domain.rulebook import check_rules
from cephstorage.domain.serialise import from_json, to_json

MIRROR = Mirror("m.example", BucketName("mirrors", "debian"), "http://origin.example")
HTML = OriginAnswer(200, "Text/HTML; charset=utf-8")
PREFIX, SUFFIX, REGEX = Match.PREFIX, Match.SUFFIX, Match.REGEX


def with_rules(*rules: Rule, **changes: Any) -> Mirror:
    return replace(MIRROR, rules=rules, **changes)


@pytest.mark.parametrize(
    ("rule", "matching", "others"),
    [
        (Rule("/pool/", match=PREFIX), ["/pool/", "/pool/a/b"], ["/pool", "/x/pool/", "/Pool/"]),
        (Rule("/a*", match=PREFIX), ["/a*b"], ["/ab"]),
        (Rule(".iso", match=SUFFIX), ["/x.iso", "/a/.iso"], ["/x.iso/", "/xiso", "/x.ISO"]),
        (Rule(r"/v\d+/[^/]+", match=REGEX), ["/v1/x", "/v12/x.y"], ["/v/x", "/v1/x/y", "/a/v1/x"]),
    ],
)
def test_patterns(rule: Rule, matching: list[str], others: list[str]) -> None:
    assert [path for path in matching if not rule.matches(path)] == []
    assert [path for path in others if rule.matches(path)] == []


@pytest.mark.parametrize(
    ("rule", "answer", "fits"),
    [
        (Rule(content_type="text/html"), HTML, True),
        (Rule(content_type="text/*"), HTML, True),
        (Rule(content_type="TEXT/html"), HTML, True),
        (Rule(content_type="*/*+json"), OriginAnswer(200, "application/ld+json"), True),
        (Rule(content_type="text/plain"), HTML, False),
        (Rule(content_type="text"), HTML, False),
        (Rule(content_type="text/*"), OriginAnswer(200), False),
        (Rule(content_type="*"), OriginAnswer(200), True),
        (Rule(status=("404",)), OriginAnswer(404), True),
        (Rule(status=("404", "5xx")), OriginAnswer(503), True),
        (Rule(status=("404", "5xx")), OriginAnswer(403), False),
        (Rule(status=("200",), content_type="text/html"), HTML, True),
        (Rule(status=("404",), content_type="text/html"), HTML, False),
    ],
)
def test_conditions_on_answers(rule: Rule, answer: OriginAnswer, fits: bool) -> None:
    assert rule.of_answers
    assert rule.fits(answer) == fits


PAGES = Rule(content_type="text/html", mode=Mode.REVALIDATE, ttl=5.0)
POOL = Rule("/pool/**", mode=Mode.IMMUTABLE, ttl=9.0)


@pytest.mark.parametrize(
    ("rules", "path", "answer", "before", "after", "number"),
    [
        # the first of all rules holds; one about answers is laid over the path's own
        ((PAGES, POOL), "/pool/x", HTML, Policy(Mode.IMMUTABLE, 9.0), Policy(Mode.REVALIDATE, 5.0), 1),
        ((POOL, PAGES), "/pool/x", HTML, Policy(Mode.IMMUTABLE, 9.0), Policy(Mode.IMMUTABLE, 9.0), 1),
        ((POOL, PAGES), "/x", HTML, Policy(), Policy(Mode.REVALIDATE, 5.0), 2),
        ((PAGES, POOL), "/pool/x", OriginAnswer(200, "text/css"), Policy(Mode.IMMUTABLE, 9.0), Policy(Mode.IMMUTABLE, 9.0), 2),
        ((PAGES,), "/x", OriginAnswer(200, "text/css"), Policy(), Policy(), None),
        ((replace(PAGES, path="/a/**"),), "/b/x", HTML, Policy(), Policy(), None),
        ((Rule(status=("404",), negative_ttl=7.0), PAGES), "/x", OriginAnswer(404, "text/html"), Policy(), Policy(negative_ttl=7.0), 1),
    ],
)  # fmt: skip
def test_which_rule_holds(
    rules: tuple[Rule, ...], path: str, answer: OriginAnswer, before: Policy, after: Policy, number: int | None
) -> None:
    mirror = with_rules(*rules)
    terms = mirror.terms_for(path)
    assert (terms.policy, terms.when(answer)) == (before, after)
    assert mirror.policy_for(path) == before
    assert mirror.rule_number(path, answer) == number


def test_a_mirror_s_own_rule_changes_only_what_it_names_of_its_preset() -> None:
    """Whoever wants packuments asked for sooner does not lose their links to the mirror."""
    defaults, preset = preset_rules("npm", None, ("http://o/", "http://m/"))
    own = (Rule("/*", ttl=5.0), Rule("/secret", mode=Mode.DENY), Rule("/odd/**", mode=Mode.BYPASS))
    mirror = with_rules(*own, *preset, defaults=defaults, own_rules=len(own))
    policy = mirror.policy_for("/left")
    assert (policy.mode, policy.ttl, policy.rewrite_links) == (Mode.REVALIDATE, 5.0, ("http://o/", "http://m/"))
    assert mirror.rule_number("/left") == 1
    tarball = mirror.policy_for("/left/-/left-1.0.0.tgz")
    assert (tarball.mode, tarball.digest, tarball.ttl) == (Mode.IMMUTABLE, DigestSource.NPM, 300.0)
    assert mirror.policy_for("/odd/-/x.tgz").digest is DigestSource.NPM
    before = replace(mirror, own_rules=None)
    assert before.policy_for("/left").rewrite_links is None


def test_a_denied_path_is_denied_under_rules_about_answers_too() -> None:
    mirror = with_rules(PAGES, Rule("/secret/", match=PREFIX, mode=Mode.DENY))
    for path in ("/secret/x", "/open/../secret/x", "//secret/x"):
        assert mirror.policy_for(path).mode is Mode.DENY


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        (Rule("/a/*"), "/a/*"),
        (Rule("/a", match=PREFIX), "prefix /a"),
        (Rule("/a+", match=REGEX, status=("404", "5xx")), "regex /a+; status 404,5xx"),
        (PAGES, "/**; content type text/html"),
    ],
)
def test_how_a_rule_is_named(rule: Rule, name: str) -> None:
    assert rule.written == name


@pytest.mark.parametrize(
    ("changes", "headers", "left"),
    [
        (HeaderChanges(), [("A", "1"), ("a", "2")], (("A", "1"), ("a", "2"))),
        (HeaderChanges(drop=("a",)), [("A", "1"), ("a", "2"), ("B", "3")], (("B", "3"),)),
        (HeaderChanges(set=(("X-New", "n"),)), [("A", "1")], (("A", "1"), ("X-New", "n"))),
        (HeaderChanges(set=(("x-a", "n"),)), [("X-A", "1"), ("X-A", "2")], (("x-a", "n"),)),
        (HeaderChanges(set=(("A", "n"),), drop=("A",)), [("a", "1")], (("A", "n"),)),
    ],
)
def test_header_changes(changes: HeaderChanges, headers: list[tuple[str, str]], left: object) -> None:
    assert changes.applied_to(headers) == left


DATED = KeyRewrite(REGEX, r"/dl/[0-9a-f]+/(.+)", "/files/$1")
FOLDER = KeyRewrite(PREFIX, "/mirror2/", "/")


@pytest.mark.parametrize(
    ("rewrite", "raw", "query", "key", "canonical"),
    [
        (DATED, "/dl/12ab/x.iso", "", "files/x.iso", "/files/x.iso"),
        (DATED, "/dl/34cd/x.iso", "", "files/x.iso", "/files/x.iso"),
        (DATED, "/dl/34cd/a%20b.iso", "v=1", "files/a b.iso?v=1", "/files/a%20b.iso?v=1"),
        (DATED, "/files/x.iso", "", "files/x.iso", "/files/x.iso"),
        (DATED, "/dl/x.iso", "", "dl/x.iso", "/dl/x.iso"),
        (FOLDER, "/mirror2/a", "", "a", "/a"),
        (FOLDER, "/mirror2/", "", "/", "/"),
        (FOLDER, "/mirror2", "", "mirror2", "/mirror2"),
        (KeyRewrite(REGEX, "/(@[^/]+/[^/]+)", "/$1"), "/@a%2fb", "", "@a/b", "/@a/b"),
        (KeyRewrite(REGEX, "/a(b)?(c)", "/$2$1!"), "/ac", "", "c!", "/c!"),
    ],
)
def test_key_rewrites(rewrite: KeyRewrite, raw: str, query: str, key: str, canonical: str) -> None:
    """The key and the identity change; the origin is asked for what the client asked for."""
    mirror = with_rules(Rule(key=rewrite))
    target, policy = read_target(raw, query, mirror)
    assert (target.key, target.canonical) == (key, canonical)
    assert source_url(mirror, policy, target) == f"http://origin.example{raw}" + (f"?{query}" if query else "")


def test_a_path_too_long_for_an_expression_is_refused_and_not_let_through() -> None:
    denied = with_rules(Rule("/secret/.*", match=REGEX, mode=Mode.DENY))
    assert read_target("/secret/" + "x" * 1000, "", denied)[1].mode is Mode.DENY
    for mirror in (denied, with_rules(Rule(key=DATED)), replace(MIRROR, defaults=Policy(key=DATED))):
        with pytest.raises(InvalidKey, match="2048"):
            read_target("/secret/" + "x" * 3000, "", mirror)
    assert read_target("/secret/" + "x" * 3000, "", MIRROR)[0].key is None
    with pytest.raises(InvalidKey, match="8192"):
        read_target("/" + "x" * 9000, "", MIRROR)


ALL_CHANGES = Rule(
    "/a", Mode.REVALIDATE, 1.0, Query.LISTED, ("v",), Cookies.DROP, ("x-a",), "http://o.example", ("a", "b"), Match.PREFIX,
    "text/*", ("404",), 2.0, 3, 4.0, Redirects.REFUSE, HeaderChanges((("a", "b"),), ("c",)), HeaderChanges(drop=("d",)), DATED,
    DigestSource.SHA256, digest_indexes=("/Packages",),
)  # fmt: skip


def test_every_change_of_a_rule_reaches_the_policy_and_survives_the_database() -> None:
    policy = ALL_CHANGES.applied_to(Policy())
    assert policy == Policy(
        Mode.REVALIDATE, 1.0, Query.LISTED, ("v",), Cookies.DROP, ("x-a",), "http://o.example", ("a", "b"), 2.0, 3, 4.0,
        Redirects.REFUSE, HeaderChanges((("a", "b"),), ("c",)), HeaderChanges(drop=("d",)), DATED, DigestSource.SHA256,
        digest_indexes=("/Packages",),
    )  # fmt: skip
    assert Rule().applied_to(policy) == policy
    mirror = with_rules(ALL_CHANGES, Rule(), defaults=policy)
    assert from_json(Mirror, to_json(mirror)) == mirror


def test_rules_of_before_are_read() -> None:
    row = '{"host":"h","bucket":"a___b","origin":"http://o","rules":[{"path":"/x","mode":"deny","ttl":null}]}'
    assert from_json(Mirror, row) == Mirror("h", BucketName("a", "b"), "http://o", rules=(Rule("/x", mode=Mode.DENY),))


SENSELESS: dict[str, tuple[Rule, str]] = {
    "no prefix of a path": (Rule("pool/", match=PREFIX), "'prefix'"),
    "an empty suffix": (Rule("", match=SUFFIX), "'suffix'"),
    "an expression that explodes": (Rule("/(a+)+b", match=REGEX), "'regex'"),
    "no expression": (Rule("/(", match=REGEX), "'regex'"),
    "no media type": (Rule(content_type="text html"), "'content_type'"),
    "no status": (Rule(status=("999",)), "'status'"),
    "half a status": (Rule(status=("40x",)), "'status'"),
    "no status at all": (Rule(status=()), "'status'"),
    "a query by status": (Rule(status=("404",), query=Query.IGNORE), "'query'"),
    "a key by content type": (Rule(content_type="text/html", key=FOLDER), "'key'"),
    "request headers by status": (Rule(status=("404",), request_headers=HeaderChanges()), "'request_headers'"),
    "a digest by status": (Rule(status=("200",), digest=DigestSource.MD5), "'digest'"),
    "no name to pass": (Rule(pass_headers=("a b",)), "'pass_headers'"),
    "a framing header": (Rule(pass_headers=("Transfer-Encoding",)), "'pass_headers'"),
    "a credential": (Rule(request_headers=HeaderChanges((("Authorization", "x"),))), "'request_headers'"),
    "the host": (Rule(request_headers=HeaderChanges((("Host", "x"),))), "'request_headers'"),
    "a range": (Rule(request_headers=HeaderChanges(drop=("range",))), "'request_headers'"),
    "a header of the edge": (Rule(request_headers=HeaderChanges((("X-CephStorage-Edge", "x"),))), "'request_headers'"),
    "two lines": (Rule(request_headers=HeaderChanges((("X-A", "a\r\nb"),))), "'request_headers'"),
    "no ASCII": (Rule(response_headers=HeaderChanges((("X-A", "é"),))), "'response_headers'"),
    "an etag": (Rule(response_headers=HeaderChanges((("ETag", '"x"'),))), "'response_headers'"),
    "a length": (Rule(response_headers=HeaderChanges(drop=("Content-Length",))), "'response_headers'"),
    "a command to nginx": (Rule(response_headers=HeaderChanges((("X-Accel-Redirect", "/x"),))), "'response_headers'"),
    "no content type": (Rule(response_headers=HeaderChanges(drop=("Content-Type",))), "'response_headers'"),
    "packages without an index": (Rule(digest=DigestSource.PACKAGES), "'digest_indexes'"),
    "an index that is no path": (Rule(digest_indexes=("Packages",)), "'digest_indexes'"),
    "a key that is no path": (Rule(key=KeyRewrite(PREFIX, "/a/", "b")), "'key.to'"),
    "a rewritten prefix that is none": (Rule(key=KeyRewrite(PREFIX, "a", "/b")), "'key.prefix'"),
    "a group that is not there": (Rule(key=KeyRewrite(REGEX, "/(a)", "/$2")), "'key.to'"),
    "no group": (Rule(key=KeyRewrite(REGEX, "/(a)", "/$")), "'key.to'"),
    "a rewrite that explodes": (Rule(key=KeyRewrite(REGEX, "/.*.*.*x", "/")), "'key.regex'"),
}  # fmt: skip


@pytest.mark.parametrize("name", SENSELESS)
def test_rules_that_make_no_sense(name: str) -> None:
    rule, field = SENSELESS[name]
    with pytest.raises(InvalidMirror, match=f"Rule 2, field {field}"):
        check_rules(Policy(), (Rule("/x"), rule), private=False)


def test_a_mirror_s_own_policy_is_checked_too() -> None:
    with pytest.raises(InvalidMirror, match="The mirror, field 'response_headers'"):
        check_rules(Policy(response_headers=HeaderChanges(drop=("ETag",))), (), private=False)


def test_a_private_mirror_s_token_is_not_passed_on() -> None:
    rules = (Rule("/a", pass_headers=("Authorization",)),)
    check_rules(Policy(), rules, private=False)
    with pytest.raises(InvalidMirror, match="Rule 1, field 'pass_headers'"):
        check_rules(Policy(), rules, private=True)


def test_what_makes_sense() -> None:
    headers = HeaderChanges(
        (("X-A", "a b"), ("Content-Type", "text/plain"), ("Cache-Control", "no-cache")), ("Server",)
    )
    rule = replace(ALL_CHANGES, content_type=None, status=None, response_headers=headers)
    check_rules(Policy(), (rule, PAGES, POOL, Rule(status=("404", "5xx"), negative_ttl=1.0)), private=True)
