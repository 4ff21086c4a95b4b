"""The origins of mirrors as the operator orders them: their secrets are sealed on the way in, and opened to be used.

So are those in the addresses that keys are created from.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import unquote

from cephstorage.domain.credentials import CredentialKind, Credentials, SealedCredentials
from cephstorage.domain.errors import InvalidMirror
from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.origins import OriginServer, server_of
from cephstorage.domain.policy import Rule
from cephstorage.domain.urls import credentials_in, origin_url, without_credentials
from cephstorage.services.sealing import SealedSettings


@dataclass(frozen=True, slots=True)
class OriginWish:
    """An origin as the caller wrote it. ``credentials``: new ones, the kind of those to keep, or none."""

    server: OriginServer
    credentials: Credentials | CredentialKind | None = field(default=None, repr=False)


class OriginSecrets:
    """Seals and opens what origins are shown. The mirror and the origin's address are sealed along with a secret,
    so that it opens for no other.
    """

    def __init__(self, sealed: SealedSettings) -> None:
        self._sealed = sealed

    def seal(self, mirror: str, url: str, credentials: Credentials) -> SealedCredentials:
        """Credentials as they are kept."""
        sealed = self._sealed.sealed(_name(mirror, url), credentials.secret)
        return SealedCredentials(credentials.kind, sealed, credentials.name, credentials.region)

    def open(self, mirror: str, server: OriginServer) -> Credentials | None:
        """The credentials for an origin. Raises SecretKeyWrong."""
        kept = server.credentials
        if kept is None:
            return None
        return Credentials(
            kept.kind, self._sealed.opened(_name(mirror, server.url), kept.sealed), kept.name, kept.region
        )

    def seal_userinfo(self, url: str) -> tuple[str, str]:
        """A URL that a key is created from as it is kept: bare, and what stood before its host, sealed to it."""
        bare, written = without_credentials(url), credentials_in(url)
        return bare, self._sealed.sealed(_source(bare), written) if written else ""

    def open_userinfo(self, url: str, sealed: str) -> str:
        """What ``seal_userinfo`` has sealed. Raises SecretKeyWrong."""
        return self._sealed.opened(_source(url), sealed)

    def fingerprint(self, url: str) -> str:
        """What tells the credentials in a URL from others, and tells nobody without the key what they are."""
        return self._sealed.digest(written) if (written := credentials_in(url)) else ""

    def sealed_anew(self, mirror: Mirror) -> Mirror:
        """The mirror with every secret sealed by the first key: also those that an older version left in addresses.

        Raises SecretKeyWrong.
        """
        servers = tuple(self._renewed(mirror.host, server) for server in mirror.servers)
        others = tuple(self._renewed(mirror.host, server) for server in mirror.other_origins)
        rules, more = self.of_rules(mirror.host, mirror.rules, None)
        origins = servers if mirror.origins or servers[0].credentials is not None else ()
        return replace(mirror, origin=servers[0].url, origins=origins, rules=rules, other_origins=(*others, *more))

    def _renewed(self, mirror: str, server: OriginServer) -> OriginServer:
        if server.credentials is None:
            return self._made(mirror, OriginWish(server), None)
        if self._sealed.is_fresh(server.credentials.sealed):
            return server
        opened = self.open(mirror, server)
        assert opened is not None
        return replace(server, credentials=self.seal(mirror, server.url, opened))

    def of_mirror(self, mirror: str, wishes: Sequence[OriginWish], before: Mirror | None) -> tuple[OriginServer, ...]:
        """The origins to keep. ``before`` is the mirror as it was. Raises InvalidUrl, InvalidMirror."""
        servers = tuple(self._made(mirror, wish, before) for wish in wishes)
        if len({server.url for server in servers}) < len(servers):
            raise InvalidMirror("origins: one address stands there twice.")
        return servers

    def of_rules(
        self, mirror: str, rules: Iterable[Rule], before: Mirror | None
    ) -> tuple[tuple[Rule, ...], tuple[OriginServer, ...]]:
        """The rules with their origins' bare addresses, and the origins among them that are shown credentials.

        A bare address keeps those that a rule of the mirror had for it, so that what was read can be written back.
        """
        made = [
            (rule, self._made(mirror, _wish(rule.origin, before), before) if rule.origin else None) for rule in rules
        ]
        bare = tuple(replace(rule, origin=server.url) if server is not None else rule for rule, server in made)
        shown = {server.url: server for _, server in made if server is not None and server.credentials is not None}
        return bare, tuple(shown.values())

    def _made(self, mirror: str, wish: OriginWish, before: Mirror | None) -> OriginServer:
        written = origin_url(wish.server.url)
        url, named = without_credentials(written), _basic(written)
        if named is not None and wish.credentials is not None:
            raise InvalidMirror("origins: an address holds a user name beside other credentials; give one of them.")
        wanted = named or wish.credentials
        if isinstance(wanted, CredentialKind):
            return replace(wish.server, url=url, credentials=_kept(url, wanted, before))
        return replace(wish.server, url=url, credentials=self.seal(mirror, url, wanted) if wanted is not None else None)


def _wish(url: str, before: Mirror | None) -> OriginWish:
    others = before.other_origins if before is not None else ()
    known = next((server.credentials for server in others if server.url == origin_url(url)), None)
    return OriginWish(OriginServer(url), known.kind if known is not None else None)


def _name(mirror: str, url: str) -> str:
    return f"origin {url} of {mirror}"


def _source(url: str) -> str:
    return f"source {url}"


def _basic(url: str) -> Credentials | None:
    """The credentials that are written in an address."""
    written = credentials_in(url)
    if not written:
        return None
    user, _, password = written.partition(":")
    return Credentials(CredentialKind.BASIC, unquote(password), unquote(user))


def _kept(url: str, kind: CredentialKind, before: Mirror | None) -> SealedCredentials:
    servers = (*before.servers, *before.other_origins) if before is not None else ()
    known = server_of(servers, f"{url}/")
    if known is None or known.url != url or known.credentials is None or known.credentials.kind is not kind:
        raise InvalidMirror(
            f"origins: there are no credentials of kind {kind.value} to keep for {url}; give them whole."
        )
    return known.credentials
