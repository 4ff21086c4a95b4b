"""Presets: the rules of known ecosystems, as data."""

from dataclasses import replace

from cephstorage.domain.errors import InvalidMirror
from cephstorage.domain.policy import Mode, Policy, Query, Rule

DEBIAN = (
    Rule("/**/", mode=Mode.REVALIDATE),  # folder listings change, in the pool too
    Rule("**/by-hash/**", mode=Mode.IMMUTABLE),
    Rule("/**/pool/**", mode=Mode.IMMUTABLE),
    Rule("*.deb", mode=Mode.IMMUTABLE),
    Rule("*.udeb", mode=Mode.IMMUTABLE),
    Rule("*.dsc", mode=Mode.IMMUTABLE),
    Rule("/**/dists/**", mode=Mode.REVALIDATE, ttl=120.0),
)
PYPI = (
    Rule("/packages/**", mode=Mode.IMMUTABLE),
    Rule("/simple/**", mode=Mode.REVALIDATE, ttl=300.0),
    Rule("/pypi/**", mode=Mode.REVALIDATE, ttl=300.0),
)
PRESETS: dict[str, tuple[Policy, tuple[Rule, ...]]] = {
    "debian": (Policy(mode=Mode.REVALIDATE, ttl=300.0, query=Query.IGNORE), DEBIAN),
    "pypi": (Policy(mode=Mode.REVALIDATE, ttl=300.0, query=Query.IGNORE), PYPI),
}


def preset_rules(name: str, files_origin: str | None) -> tuple[Policy, tuple[Rule, ...]]:
    """A preset's defaults and rules. Raises InvalidMirror for an unknown name.

    An index whose pages link to files on another host (PyPI's does) names that host as
    ``files_origin``: the links are made to lead through the mirror, and ``/packages/`` is fetched there.
    """
    if name not in PRESETS:
        raise InvalidMirror(f"There is no preset {name!r}; there are: {', '.join(sorted(PRESETS))}.")
    defaults, rules = PRESETS[name]
    if files_origin is None:
        return defaults, rules
    if name != "pypi":
        raise InvalidMirror("files_origin goes with the preset pypi only.")
    links = (f"{files_origin}/packages/", "/packages/")
    extra = {"/packages/**": {"origin": files_origin}, "/simple/**": {"rewrite_links": links}}
    return defaults, tuple(replace(rule, **extra.get(rule.path, {})) for rule in rules)  # type: ignore[arg-type]
