"""Presets: the rules of known ecosystems, as data. Each row says what the ecosystem promises of such a path.

The first rule that matches holds, on top of the preset's defaults. A mirror's own rules stand before these and change only
what they name.
"""

from dataclasses import dataclass, replace

from cephstorage.domain.errors import InvalidMirror
from cephstorage.domain.policy import (
    Cookies,
    DigestSource,
    KeyRewrite,
    Match,
    Methods,
    Mode,
    Policy,
    Query,
    Redirects,
    Rule,
)

IMMUTABLE, REVALIDATE, BYPASS = Mode.IMMUTABLE, Mode.REVALIDATE, Mode.BYPASS
ARCHIVE = Policy(REVALIDATE, ttl=300.0, query=Query.IGNORE, cookies=Cookies.DROP, negative_ttl=60.0)
"""An archive of packages: its indexes change, its files don't; what a query or cookie says means nothing there."""

DEBIAN = (
    Rule("/**/", mode=REVALIDATE),  # folder listings change, in the pool too
    Rule("**/by-hash/**", mode=IMMUTABLE, digest=DigestSource.BY_HASH),
    Rule("/**/pool/**", mode=IMMUTABLE),
    Rule("*.deb", mode=IMMUTABLE),
    Rule("*.udeb", mode=IMMUTABLE),
    Rule("*.dsc", mode=IMMUTABLE),
    Rule("/**/dists/**", mode=REVALIDATE, ttl=120.0),
)
PYPI = (
    Rule("/packages/**", mode=IMMUTABLE, digest=DigestSource.PYPI),
    Rule("/simple/**", mode=REVALIDATE, ttl=300.0),
    Rule("/pypi/**", mode=REVALIDATE, ttl=300.0),
)
_SCOPED = "/(@[^/]+/[^/]+)"
NPM = (
    Rule("/-/**", mode=BYPASS, query=Query.INCLUDE),  # search, audits, dist-tags, log-in
    Rule("/**/-/**", mode=IMMUTABLE, digest=DigestSource.NPM),  # tarballs
    Rule(
        _SCOPED, REVALIDATE, match=Match.REGEX, key=KeyRewrite(Match.REGEX, _SCOPED, "/$1")
    ),  # npm asks for /@scope%2Fname
    Rule("/*", mode=REVALIDATE),
    Rule("/*/*", mode=REVALIDATE),
    Rule("/@*/*/*", mode=REVALIDATE),
)
MAVEN = (
    Rule("/**/", mode=REVALIDATE, digest=DigestSource.NONE),
    Rule("maven-metadata.xml*", mode=REVALIDATE, digest=DigestSource.NONE),
    Rule("archetype-catalog.xml*", mode=REVALIDATE, digest=DigestSource.NONE),
    Rule("**/*-SNAPSHOT/**", mode=REVALIDATE, digest=DigestSource.NONE),
)
GENERIC_STATIC = (
    Rule("/**/", ttl=300.0),
    Rule(content_type="text/html", ttl=300.0),  # indexes and pages; files are long-lived
)


@dataclass(frozen=True, slots=True)
class Preset:
    """Defaults and rules of an ecosystem.

    ``links_to_files``: its indexes link to files on a host that the operator names. ``links_to_itself``: rules on
    these patterns are for pages that link to their own host, so that the links are made to lead to the mirror.
    """

    defaults: Policy
    rules: tuple[Rule, ...] = ()
    links_to_files: bool = False
    links_to_itself: frozenset[str] = frozenset()


PRESETS: dict[str, Preset] = {
    "debian": Preset(ARCHIVE, DEBIAN),
    "pypi": Preset(ARCHIVE, PYPI, links_to_files=True),
    "npm": Preset(ARCHIVE, NPM, links_to_itself=frozenset({_SCOPED, "/*", "/*/*", "/@*/*/*"})),
    "maven": Preset(replace(ARCHIVE, mode=IMMUTABLE, digest=DigestSource.SHA1), MAVEN),
    "generic-static": Preset(Policy(REVALIDATE, ttl=86400.0, cookies=Cookies.DROP, negative_ttl=30.0), GENERIC_STATIC),
    "website": Preset(Policy(Mode.ORIGIN, negative_ttl=10.0, redirects=Redirects.PASS, methods=Methods.PASS)),
}


def preset_rules(
    name: str, files_origin: str | None = None, links: tuple[str, str] | None = None
) -> tuple[Policy, tuple[Rule, ...]]:
    """A preset's defaults and rules. Raises InvalidMirror for an unknown name.

    An index whose pages link to files on another host (PyPI's does) names that host as ``files_origin``: the links are made
    to lead through the mirror, and ``/packages/`` is fetched there. ``links``: how the origin's address begins in
    pages that name it (npm's do), and how the mirror's does.
    """
    if name not in PRESETS:
        raise InvalidMirror(f"There is no preset {name!r}; there are: {', '.join(sorted(PRESETS))}.")
    preset = PRESETS[name]
    if files_origin is not None and not preset.links_to_files:
        raise InvalidMirror("files_origin goes with the preset pypi only.")
    rules = preset.rules
    if files_origin is not None:
        away = (f"{files_origin}/packages/", "/packages/")
        rules = tuple(
            replace(
                rule,
                origin=files_origin if rule.path == "/packages/**" else rule.origin,
                rewrite_links=away if rule.path == "/simple/**" else rule.rewrite_links,
            )
            for rule in rules
        )
    own = preset.links_to_itself if links is not None else frozenset()
    return preset.defaults, tuple(replace(r, rewrite_links=links) if r.path in own else r for r in rules)
