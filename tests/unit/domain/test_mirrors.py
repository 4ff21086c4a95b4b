"""Mirrors: patterns, presets as tables, query policies, one identity per target, and URLs that are refused."""

from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cephstorage.domain.errors import InvalidKey, InvalidMirror, InvalidUrl
from cephstorage.domain.mirrors import Mirror, read_target, source_url
from cephstorage.domain.names import BucketName, encode_key
from cephstorage.domain.policy import Cookies, DigestSource, Mode, OriginAnswer, Policy, Query, Rule
from cephstorage.domain.presets import PRESETS, preset_rules
from cephstorage.domain.rulebook import check_rules
from cephstorage.domain.urls import MAX_URL, check_url, origin_url
from tests.harness.names import NASTY_KEYS

BUCKET = BucketName("mirrors", "debian")
MIRROR = Mirror("m.example", BUCKET, "http://origin.example")
IMMUTABLE, REVALIDATE, PERMANENT, DENY, BYPASS = Mode.IMMUTABLE, Mode.REVALIDATE, Mode.PERMANENT, Mode.DENY, Mode.BYPASS


def with_rules(*rules: Rule, **changes: object) -> Mirror:
    return replace(MIRROR, rules=rules, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("/a", ["/a"], ["/a/", "/b/a", "/ab", "a", "/"]),
        ("/a/*", ["/a/b", "/a/"], ["/a", "/a/b/c", "/a/b/"]),
        ("/a/**", ["/a/", "/a/b", "/a/b/c", "/a//"], ["/a", "/b/a/c"]),
        ("/**/a", ["/a", "/x/a", "/x/y/a", "//a"], ["/xa", "/x/ya", "/a/x"]),
        ("/**/a/**", ["/a/", "/a/b", "/x/a/b", "/x/y/a/b/c"], ["/a", "/xa/b", "/x/a"]),
        ("/a/**/b", ["/a/b", "/a/x/b", "/a/x/y/b", "/a//b"], ["/ab", "/a/xb", "/x/a/b"]),
        ("/a/**/**/b", ["/a/b", "/a/x/b"], ["/ab", "/a/xb"]),
        ("/**", ["/", "/a", "/a/b/"], ["a"]),
        ("**", ["/", "/a", "/a/b/"], ["a"]),
        ("/**/", ["/", "/a/", "/a/b/"], ["/a", "/a/b"]),
        ("*.deb", ["/x.deb", "/pool/a/x.deb", "/.deb"], ["/x.deb/", "/x.deb.asc", "/xdeb", "/x.debx"]),
        ("**/by-hash/**", ["/by-hash/x", "/a/by-hash/x", "/a/b/by-hash/MD5/x"], ["/xby-hash/x", "/by-hash"]),
        ("**/**/x", ["/x", "/a/x", "/a/b/x"], ["/ax"]),
        ("dists/x", ["/dists/x", "/a/dists/x"], ["/xdists/x"]),
        ("/a?c", ["/abc", "/a?c"], ["/ac", "/a/c", "/abbc"]),
        ("/[a].(b)+", ["/[a].(b)+"], ["/a.b", "/[a]x(b)+", "/[a].(b)(b)"]),
        ("/a*c/d", ["/ac/d", "/abbc/d"], ["/a/c/d", "/ab/bc/d"]),
        ("/é/*", ["/é/ü"], ["/e/x"]),
        ("/a\nb/**", ["/a\nb/c\nd"], ["/a/b"]),
    ],
)
def test_patterns(pattern: str, matching: list[str], others: list[str]) -> None:
    mirror = with_rules(Rule(pattern, mode=IMMUTABLE))
    assert [path for path in matching if mirror.policy_for(path).mode is not IMMUTABLE] == []
    assert [path for path in others if mirror.policy_for(path).mode is IMMUTABLE] == []


def test_the_first_matching_rule_wins_whole() -> None:
    mirror = with_rules(Rule("/a/b", mode=BYPASS), Rule("/a/*", mode=IMMUTABLE, ttl=5.0), Rule("/**", mode=DENY))
    assert mirror.policy_for("/a/b") == Policy(mode=BYPASS)
    assert mirror.policy_for("/a/c") == Policy(mode=IMMUTABLE, ttl=5.0)
    assert mirror.policy_for("/b").mode is DENY


def test_a_rule_changes_only_what_it_names() -> None:
    defaults = Policy(REVALIDATE, 60.0, Query.LISTED, ("v",), Cookies.DROP, ("authorization",), "http://other.example")
    assert Rule("/a").applied_to(defaults) == defaults
    assert Rule("/a", ttl=0.0).applied_to(defaults) == replace(defaults, ttl=0.0)
    assert Rule("/a", query_names=(), pass_headers=()).applied_to(defaults) == replace(
        defaults, query_names=(), pass_headers=()
    )
    assert Rule("/a", mode=BYPASS, query=Query.IGNORE, cookies=Cookies.PASS, origin="http://x").applied_to(
        defaults
    ) == replace(defaults, mode=BYPASS, query=Query.IGNORE, cookies=Cookies.PASS, origin="http://x")
    assert with_rules(defaults=defaults).policy_for("/anything") == defaults


@pytest.mark.parametrize(
    "path",
    ["/secret/x", "/open/../secret/x", "/./secret/x", "//secret/x", "/secret//x", "/open/..//secret/./x", "/../secret/x", "/secret/",
     "//secret/", "/secret/x/..", "/secret/."],
)  # fmt: skip
def test_no_spelling_of_a_denied_path_is_let_through(path: str) -> None:
    assert with_rules(Rule("/secret/**", mode=DENY)).policy_for(path).mode is DENY
    assert with_rules(Rule("/open/**", mode=IMMUTABLE), Rule("/secret/**", mode=DENY)).policy_for(path).mode is DENY


@pytest.mark.parametrize("path", ["/open/x", "/secret/../open", "/secrets/x", "//open//x", "/secret"])
def test_other_paths_are_not_denied(path: str) -> None:
    mirror = with_rules(Rule("/secret/*", mode=DENY), Rule("/**", mode=IMMUTABLE))
    assert mirror.policy_for(path).mode is IMMUTABLE


@pytest.mark.parametrize(
    ("headers", "sends"),
    [((), False), (("Accept",), False), (("Authorization",), True), (("cookie",), True), (("x", "COOKIE"), True)],
)
def test_which_policies_send_credentials(headers: tuple[str, ...], sends: bool) -> None:
    assert Policy(pass_headers=headers).sends_credentials == sends


DEBIAN: dict[str, Mode] = {
    "/debian/dists/bookworm/InRelease": REVALIDATE,
    "/debian/dists/bookworm/Release.gpg": REVALIDATE,
    "/debian/dists/bookworm/main/binary-amd64/Packages.xz": REVALIDATE,
    "/debian/dists/bookworm/main/i18n/Translation-en.xz": REVALIDATE,
    "/dists/stable/Release": REVALIDATE,
    "/debian/dists/bookworm/main/binary-amd64/by-hash/SHA256/0123abcd": IMMUTABLE,
    "/by-hash/SHA256/0123abcd": IMMUTABLE,
    "/debian/pool/main/h/hello/hello_2.10-3_amd64.deb": IMMUTABLE,
    "/debian/pool/main/h/hello/hello_2.10.orig.tar.gz": IMMUTABLE,
    "/debian/pool/main/h/hello/hello_2.10-3.debian.tar.xz": IMMUTABLE,
    "/debian/pool/main/h/hello/hello_2.10-3.dsc": IMMUTABLE,
    "/debian-security/pool/updates/main/o/openssl/libssl3_3.0.11-1~deb12u2_amd64.deb": IMMUTABLE,
    "/pool/main/g/gcc-12/libstdc++6_12.2.0-14_amd64.deb": IMMUTABLE,
    "/flat/hello_1.0_all.deb": IMMUTABLE,
    "/hello_1.0_all.deb": IMMUTABLE,
    "/installer/hello.udeb": IMMUTABLE,
    "/flat/Packages": REVALIDATE,
    "/debian/pool/main/h/hello/": REVALIDATE,
    "/debian/pool/": REVALIDATE,
    "/debian/dists/": REVALIDATE,
    "/debian/dists/bookworm/main/by-hash/": REVALIDATE,
    "/debian/": REVALIDATE,
    "/": REVALIDATE,
    "/debian/README": REVALIDATE,
    "/debian/whirlpool/x": REVALIDATE,
}
PYPI: dict[str, Mode] = {
    "/simple/": REVALIDATE,
    "/simple": REVALIDATE,
    "/simple/hello/": REVALIDATE,
    "/pypi/hello/json": REVALIDATE,
    "/packages/12/34/5678/hello-1.0-py3-none-any.whl": IMMUTABLE,
    "/packages/12/34/5678/hello-1.0-py3-none-any.whl.metadata": IMMUTABLE,
    "/packages/source/h/hello/hello-1.0.tar.gz": IMMUTABLE,
    "/": REVALIDATE,
    "/search": REVALIDATE,
    "/x/packages/y": REVALIDATE,
}
NPM: dict[str, Mode] = {
    "/left-pad": REVALIDATE,
    "/@types/node": REVALIDATE,
    "/left-pad/1.3.0": REVALIDATE,
    "/@types/node/latest": REVALIDATE,
    "/left-pad/-/left-pad-1.3.0.tgz": IMMUTABLE,
    "/@types/node/-/node-20.1.0.tgz": IMMUTABLE,
    "/-/package/left-pad/dist-tags": BYPASS,
    "/-/v1/search": BYPASS,
    "/-/ping": BYPASS,
    "/": REVALIDATE,
}
MAVEN: dict[str, Mode] = {
    "/maven2/org/example/app/1.0/app-1.0.jar": IMMUTABLE,
    "/org/example/app/1.0/app-1.0.pom": IMMUTABLE,
    "/org/example/app/1.0/app-1.0.pom.sha1": IMMUTABLE,
    "/org/example/app/1.0/app-1.0-sources.jar.asc": IMMUTABLE,
    "/org/example/app/maven-metadata.xml": REVALIDATE,
    "/org/example/app/maven-metadata.xml.sha1": REVALIDATE,
    "/org/example/app/1.1-SNAPSHOT/maven-metadata.xml": REVALIDATE,
    "/org/example/app/1.1-SNAPSHOT/app-1.1-20240101.120000-1.jar": REVALIDATE,
    "/org/example/app/1.1-SNAPSHOT/app-1.1-SNAPSHOT.jar": REVALIDATE,
    "/archetype-catalog.xml": REVALIDATE,
    "/org/example/": REVALIDATE,
    "/org/example/SNAPSHOT-tool/1.0/x.jar": IMMUTABLE,
}
GENERIC_STATIC: dict[str, Mode] = {"/": REVALIDATE, "/iso/": REVALIDATE, "/iso/x.iso": REVALIDATE}
WEBSITE: dict[str, Mode] = {"/": Mode.ORIGIN, "/a.css": Mode.ORIGIN, "/login?x": Mode.ORIGIN}
TABLES = {
    "debian": DEBIAN, "pypi": PYPI, "npm": NPM, "maven": MAVEN, "generic-static": GENERIC_STATIC, "website": WEBSITE,
}  # fmt: skip
PRESET_CASES = [(name, *row) for name, table in TABLES.items() for row in table.items()]


@pytest.mark.parametrize(("preset", "path", "mode"), PRESET_CASES)
def test_presets(preset: str, path: str, mode: Mode) -> None:
    defaults, rules = preset_rules(preset, None)
    assert with_rules(*rules, defaults=defaults).policy_for(path).mode is mode


@pytest.mark.parametrize(
    ("preset", "path", "ttl"),
    [
        ("debian", "/debian/dists/bookworm/InRelease", 120.0),
        ("debian", "/debian/README", 300.0),
        ("pypi", "/simple/hello/", 300.0),
        ("npm", "/left-pad", 300.0),
        ("maven", "/org/example/app/maven-metadata.xml", 300.0),
    ],
)
def test_preset_freshness(preset: str, path: str, ttl: float) -> None:
    defaults, rules = preset_rules(preset, None)
    policy = with_rules(*rules, defaults=defaults).policy_for(path)
    assert (policy.ttl, policy.query) == (ttl, Query.IGNORE)


@pytest.mark.parametrize(
    ("preset", "path", "source"),
    [
        ("debian", "/dists/x/by-hash/SHA256/ab", DigestSource.BY_HASH),
        ("debian", "/pool/x.deb", DigestSource.NONE),
        ("pypi", "/packages/ab/x.whl", DigestSource.PYPI),
        ("pypi", "/simple/x/", DigestSource.NONE),
        ("npm", "/x/-/x-1.0.0.tgz", DigestSource.NPM),
        ("npm", "/x", DigestSource.NONE),
        ("maven", "/org/x/1.0/x-1.0.jar", DigestSource.SHA1),
        ("maven", "/org/x/maven-metadata.xml", DigestSource.NONE),
        ("maven", "/org/x/1.0-SNAPSHOT/x-1.0-SNAPSHOT.jar", DigestSource.NONE),
        ("generic-static", "/x.iso", DigestSource.NONE),
    ],
)
def test_what_presets_check_bytes_against(preset: str, path: str, source: DigestSource) -> None:
    defaults, rules = preset_rules(preset)
    assert with_rules(*rules, defaults=defaults).policy_for(path).digest is source


def test_generic_pages_are_short_lived_and_files_are_not() -> None:
    defaults, rules = preset_rules("generic-static")
    terms = with_rules(*rules, defaults=defaults).terms_for("/x")
    assert [terms.when(OriginAnswer(200, kind)).ttl for kind in ("text/html", "application/zip")] == [300.0, 86400.0]


@pytest.mark.parametrize(
    ("path", "rewritten"),
    [
        ("/left-pad", True),
        ("/@types/node", True),
        ("/left-pad/latest", True),
        ("/x/-/x-1.0.0.tgz", False),
        ("/-/ping", False),
    ],
)
def test_an_index_that_names_its_own_address(path: str, rewritten: bool) -> None:
    links = ("https://registry.example/", "http://npm.mirror:8080/")
    defaults, rules = preset_rules("npm", None, links)
    policy = with_rules(*rules, defaults=defaults).policy_for(path)
    assert policy.rewrite_links == (links if rewritten else None)


@pytest.mark.parametrize("raw", ["/@types/node", "/@types%2fnode", "/@types%2Fnode"])
def test_every_spelling_of_a_scoped_package_is_one(raw: str) -> None:
    defaults, rules = preset_rules("npm")
    target, _ = read_target(raw, "", with_rules(*rules, defaults=defaults))
    assert (target.key, target.canonical) == ("@types/node", "/@types/node")


def test_every_preset_makes_sense() -> None:
    for name in PRESETS:
        check_rules(*preset_rules(name, None, ("http://a/", "http://b/")), private=False)


def test_an_index_whose_files_lie_elsewhere() -> None:
    defaults, rules = preset_rules("pypi", "https://files.example")
    mirror = with_rules(*rules, defaults=defaults)
    target, policy = read_target("/packages/ab/x.whl", "", mirror)
    assert source_url(mirror, policy, target) == "https://files.example/packages/ab/x.whl"
    target, policy = read_target("/simple/x/", "", mirror)
    assert source_url(mirror, policy, target) == "http://origin.example/simple/x/"
    assert policy.rewrite_links == ("https://files.example/packages/", "/packages/")
    assert mirror.policy_for("/packages/ab/x.whl").rewrite_links is None


def test_presets_that_do_not_fit() -> None:
    with pytest.raises(InvalidMirror, match="debian, generic-static, maven, npm, pypi, website"):
        preset_rules("gopher", None)
    with pytest.raises(InvalidMirror, match="files_origin"):
        preset_rules("debian", "https://files.example")


LISTED = {"query": Query.LISTED, "query_names": ("v", "arch")}


@pytest.mark.parametrize(
    ("changes", "query", "key", "asked"),
    [
        ({}, "", "a", "/a"),
        ({}, "v=1&x=2", "a?v=1&x=2", "/a?v=1&x=2"),
        ({}, "x=%2F", "a?x=%2F", "/a?x=%2F"),
        ({"query": Query.IGNORE}, "v=1", "a", "/a"),
        (LISTED, "x=2&v=1&y&arch=b", "a?v=1&arch=b", "/a?v=1&arch=b"),
        (LISTED, "arch=b&v=1", "a?arch=b&v=1", "/a?arch=b&v=1"),
        (LISTED, "v", "a?v", "/a?v"),
        (LISTED, "vv=1", "a", "/a"),
        (LISTED, "", "a", "/a"),
        ({"query": Query.IGNORE, "mode": BYPASS}, "v=1", "a?v=1", "/a?v=1"),
    ],
)
def test_query_policies(changes: dict[str, object], query: str, key: str, asked: str) -> None:
    mirror = replace(MIRROR, defaults=Policy(**changes))  # type: ignore[arg-type]
    target, policy = read_target("/a", query, mirror)
    assert (target.key, target.canonical) == (key, asked)
    assert source_url(mirror, policy, target) == f"http://origin.example{asked}"


@pytest.mark.parametrize(
    ("raw", "query", "path", "key", "canonical"),
    [
        ("/a/b", "", "/a/b", "a/b", "/a/b"),
        ("/", "", "/", "/", "/"),
        ("/dir/", "", "/dir/", "dir/", "/dir/"),
        ("/dir", "", "/dir", "dir", "/dir"),
        ("//a", "", "//a", "/a", "//a"),
        ("/%7Euser", "", "/~user", "~user", "/~user"),
        ("/~user", "", "/~user", "~user", "/~user"),
        ("/g%2b%2B", "", "/g++", "g++", "/g++"),
        ("/g++", "", "/g++", "g++", "/g++"),
        ("/a%20b", "", "/a b", "a b", "/a%20b"),
        ("/caf%c3%a9", "", "/café", "café", "/caf%C3%A9"),
        ("/a%2fb", "", "/a/b", "a/b", "/a%2Fb"),
        ("/a%3fb", "", "/a?b", "a?b", "/a%3Fb"),
        ("/a", "b", "/a", "a?b", "/a?b"),
        ("/a%2525", "", "/a%25", "a%25", "/a%2525"),
        ("/a/../b", "", "/a/../b", "a/../b", "/a/../b"),
        ("/%2e%2e/b", "", "/../b", "../b", "/../b"),
    ],
)
def test_targets(raw: str, query: str, path: str, key: str, canonical: str) -> None:
    target, _ = read_target(raw, query, MIRROR)
    assert (target.path, target.key, target.canonical) == (path, key, canonical)
    assert target.raw == raw + (f"?{query}" if query else "")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("/a", "b"), ("/a%3Fb", "")),
        (("/a/b", ""), ("/a%2Fb", "")),
        (("/", ""), ("//", "")),
        (("/", "q"), ("//%3Fq", "")),
    ],
)
def test_two_targets_on_one_key_stay_two(one: tuple[str, str], other: tuple[str, str]) -> None:
    first, second = read_target(*one, MIRROR)[0], read_target(*other, MIRROR)[0]
    assert first.key == second.key
    assert first.canonical != second.canonical


@pytest.mark.parametrize("key", NASTY_KEYS.values(), ids=NASTY_KEYS)
def test_nasty_names_come_through_a_mirror(key: str) -> None:
    target, policy = read_target("/" + encode_key(key), "", MIRROR)
    assert (target.key, target.path) == (key, f"/{key}")
    assert check_url(source_url(MIRROR, policy, target)) == f"http://origin.example/{encode_key(key)}"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30))
def test_every_spelling_of_a_path_has_one_canonical_form(path: str) -> None:
    escaped = "".join(f"%{byte:02x}" for byte in path.encode())
    slashes_kept = "/".join("".join(f"%{byte:02x}" for byte in segment.encode()) for segment in path.split("/"))
    usual = "/".join(encode_key(segment) for segment in path.split("/"))
    assert read_target(f"/{slashes_kept}", "", MIRROR)[0].canonical == read_target(f"/{usual}", "", MIRROR)[0].canonical
    target = read_target(f"/{escaped}", "", MIRROR)[0]
    assert target.path == f"/{path}"
    assert read_target(target.canonical, "", MIRROR)[0].canonical == target.canonical


def test_a_target_too_long_for_a_key_has_none() -> None:
    assert read_target("/" + "x" * 1024, "", MIRROR)[0].key == "x" * 1024
    assert read_target("/" + "x" * 1025, "", MIRROR)[0].key is None
    assert read_target("/" + "x" * 1000, "q=" + "y" * 100, MIRROR)[0].key is None


@pytest.mark.parametrize(
    ("raw", "query"),
    [("", ""), ("a", ""), ("@evil.example/", ""), (":80/", ""), ("http://evil.example/", ""), ("*", ""), ("/é", ""), ("/a", "é"),
     ("/a b", ""), ("/a", "b c"), ("/a#b", ""), ("/a", "b#c"), ("/a?b", ""), ("/a\\b", ""), ("/a", "\\"), ("/a\r\nX: y", ""),
     ("/a\0", ""), ("/%00", ""), ("/%", ""), ("/%zz", ""), ("/%FF", ""), ("/%C0%AF", ""), ("/\udcff", "")],
)  # fmt: skip
def test_targets_that_are_refused(raw: str, query: str) -> None:
    with pytest.raises(InvalidKey):
        read_target(raw, query, MIRROR)


PREFIXED = replace(MIRROR, origin="http://origin.example/public")


@pytest.mark.parametrize(
    "raw", ["/..", "/../x", "/a/../../x", "/./x", "/%2e%2e/x", "/.%2E/x", "/a%2F..%2F..%2Fx", "/a/."]
)
def test_dot_segments_do_not_leave_a_prefixed_origin(raw: str) -> None:
    with pytest.raises(InvalidKey):
        read_target(raw, "", PREFIXED)
    with pytest.raises(InvalidKey):
        read_target(raw, "", with_rules(Rule("/**", origin="http://other.example/public")))
    assert read_target(raw, "", MIRROR)[0].raw == raw


@pytest.mark.parametrize("raw", ["/...", "/.a", "/a..", "/..a/x", "/a", "/"])
def test_other_dots_are_names(raw: str) -> None:
    target, policy = read_target(raw, "x=/../y", PREFIXED)
    assert source_url(PREFIXED, policy, target) == f"http://origin.example/public{raw}?x=/../y"


GOOD_URLS = [
    "http://origin.example",
    "https://origin.example/",
    "http://origin.example:8080/a/b?c=d&e",
    "http://origin.example:/",
    "http://127.0.0.1:80/",
    "http://[::1]/x",
    "http://[2001:db8::1]:8080/x",
    "http://origin.example./",
    "http://my_host/a%20b/%2e%2e/c",
    "http://origin.example/a/../b//c",
    'http://origin.example/{a}|b^c`d"<e>',
    "http://origin.example/x#fragment",
    "http://user:secret@origin.example/",
    "HTTP://ORIGIN.EXAMPLE/",
    "http://2130706433/",
    "http://o/" + "x" * (MAX_URL - 9),
]
BAD_URLS = [
    "",
    " ",
    "origin.example",
    "//origin.example/",
    "/a/b",
    "http:",
    "http:/a",
    "http://",
    "http:///a",
    "http:origin.example/",
    "http://?q",
    "http://#f",
    "http://:80/",
    "http://user@/",
    "http://a@b@origin.example/",
    "ftp://origin.example/",
    "file:///etc/passwd",
    "gopher://origin.example/",
    "javascript:alert(1)",
    "data:,x",
    "http://origin.example:0/",
    "http://origin.example:65536/",
    "http://origin.example:80x/",
    "http://origin.example:-1/",
    "http://origin.example:+80/",
    "http://origin.example:8_0/",
    "http://origin.example/a b",
    " http://origin.example/",
    "http://origin.example/\n",
    "http://origin.example/a\r\nX-Header: y",
    "http://origin.example/a\tb",
    "http://origin.example/\0",
    "http://origin.example/\x7f",
    "http://origin.example/é",
    "http://é.example/",
    "http://\uff11\uff12\uff17.0.0.1/",
    "http://origin.example\\@evil.example/",
    "http://origin.example/a\\b",
    "http://a%20b/",
    "http://a%00.example/",
    "http://a..b/",
    "http://.a/",
    "http://-a.example/",
    "http://a|b/",
    "http://a,b/",
    "http://[::1/",
    "http://::1/",
    "http://[::1]x/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[v1.x]/",
    "http://[127.0.0.1]/",
    "http://[]/",
    "http://\udcff/",
    "http://" + "x" * 64 + "/",
    "http://o/" + "x" * (MAX_URL - 8),
]


@pytest.mark.parametrize("url", GOOD_URLS)
def test_urls_are_returned_as_they_are(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize("url", BAD_URLS)
def test_bad_urls(url: str) -> None:
    with pytest.raises(InvalidUrl):
        check_url(url)


@given(st.text() | st.text(alphabet="htps:/[]@%.#?\\1ae ").map("http://".__add__))
def test_any_other_text_is_a_url_or_refused(url: str) -> None:
    try:
        checked = check_url(url)
    except InvalidUrl:
        return
    assert checked == url
    assert urlsplit(url).hostname


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("origin.example", "http://origin.example"),
        ("origin.example:8080", "http://origin.example:8080"),
        ("origin.example/prefix/", "http://origin.example/prefix"),
        ("https://origin.example/", "https://origin.example"),
        ("https://origin.example:8443/a/b", "https://origin.example:8443/a/b"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_origins(text: str, origin: str) -> None:
    assert origin_url(text) == origin


@pytest.mark.parametrize(
    "text", ["", "/", "http://", "ftp://a", "a?b", "a?", "a#b", "a#", "a/?", "a b", "a:b", "é.example", "[::1", "a\\b"]
)
def test_other_origins_are_refused(text: str) -> None:
    with pytest.raises(InvalidUrl):
        origin_url(text)
