"""Secrets of origins: sealed to their mirror and address, kept, sealed anew; what older versions left is taken in."""

from dataclasses import replace
from typing import Any, cast

import pytest

from cephstorage.domain.credentials import CredentialKind, Credentials
from cephstorage.domain.errors import InvalidMirror, SecretKeyWrong
from cephstorage.domain.mirrors import Mirror
from cephstorage.domain.names import BucketName
from cephstorage.domain.origins import OriginServer
from cephstorage.domain.policy import Rule
from cephstorage.domain.serialise import from_json, to_json
from cephstorage.domain.urls import with_credentials
from cephstorage.services.origins import OriginSecrets, OriginWish
from cephstorage.services.sealing import Seal, SealedSettings

SECRET = "hush-0815"
OLD_ROW = (
    '{"host":"m.test","bucket":"alice___m","origin":"http://us%40er:hush-0815@a.example/files","defaults":{"mode":'
    '"permanent","ttl":3600.0,"query":"include","query_names":[],"cookies":"pass","pass_headers":[],"origin":null,'
    '"rewrite_links":null},"rules":[{"path":"/x/**","mode":null,"ttl":null,"query":null,"query_names":null,"cookies":null,'
    '"pass_headers":null,"origin":"http://u:hush-0815@b.example","rewrite_links":null}],"private":false,"preset":null,'
    '"created_at":5.0}'
)


def secrets(*keys: str) -> OriginSecrets:
    return OriginSecrets(SealedSettings(cast("Any", None), Seal([key * 32 for key in keys])))


def mirror(*origins: OriginServer) -> Mirror:
    return Mirror("m.test", BucketName("alice", "m"), origins[0].url, origins=origins)


def kept(held: OriginSecrets, host: str = "m.test") -> OriginServer:
    wish = OriginWish(OriginServer("http://a.example"), Credentials(CredentialKind.BEARER, SECRET))
    (server,) = held.of_mirror(host, [wish], None)
    return server


def test_a_secret_opens_for_its_mirror_and_address_only() -> None:
    held = secrets("k")
    server = kept(held)
    assert SECRET not in to_json(mirror(server))
    opened = held.open("m.test", server)
    assert opened is not None
    assert opened.secret == SECRET
    for host, url in (("other.test", server.url), ("m.test", "http://evil.example")):
        with pytest.raises(SecretKeyWrong):
            held.open(host, OriginServer(url, credentials=server.credentials))


def test_a_row_of_an_earlier_version_loads_and_its_secrets_are_sealed_at_the_next_start() -> None:
    old = from_json(Mirror, OLD_ROW)
    assert [server.url for server in old.servers] == [old.origin]
    held = secrets("k")
    anew = held.sealed_anew(old)
    assert SECRET not in to_json(anew)
    assert (anew.origin, anew.rules[0].origin) == ("http://a.example/files", "http://b.example")
    (first,), (other,) = anew.servers, anew.other_origins
    assert held.open("m.test", first) == Credentials(CredentialKind.BASIC, SECRET, "us@er")
    assert held.open("m.test", other) == Credentials(CredentialKind.BASIC, SECRET, "u")
    assert held.sealed_anew(anew) == anew
    assert from_json(Mirror, to_json(anew)) == anew


def test_a_new_key_seals_anew_and_the_old_one_is_done_with() -> None:
    before = mirror(kept(secrets("a")))
    both = secrets("b", "a")
    after = both.sealed_anew(before)
    assert after != before
    (server,) = after.servers
    opened = secrets("b").open("m.test", server)
    assert opened is not None
    assert opened.secret == SECRET
    with pytest.raises(SecretKeyWrong):
        secrets("c").sealed_anew(after)


def test_only_the_kind_keeps_what_is_there() -> None:
    held = secrets("k")
    before = mirror(kept(held))
    wish = OriginWish(OriginServer("http://a.example", weight=7), CredentialKind.BEARER)
    (server,) = held.of_mirror("m.test", [wish], before)
    assert (server.weight, server.credentials) == (7, before.servers[0].credentials)
    wrong = (
        OriginWish(OriginServer("http://a.example"), CredentialKind.BASIC),
        OriginWish(OriginServer("http://a.example/deeper"), CredentialKind.BEARER),
    )
    for each in wrong:
        with pytest.raises(InvalidMirror):
            held.of_mirror("m.test", [each], before)


def test_a_rules_origin_keeps_only_its_bare_address() -> None:
    held = secrets("k")
    rules = (Rule("/a", origin=f"http://u:{SECRET}@b.example/x"), Rule("/b", origin="http://c.example"), Rule("/c"))
    bare, others = held.of_rules("m.test", rules, None)
    assert [rule.origin for rule in bare] == ["http://b.example/x", "http://c.example", None]
    assert [server.url for server in others] == ["http://b.example/x"]
    again, still = held.of_rules("m.test", bare, replace(mirror(kept(held)), other_origins=others))
    assert (again, still) == (bare, others)


@pytest.mark.parametrize("written", ["u:hush-0815@", "us%40er@", ":p@", "u:p%zz%ff@", "", "a@b:c@"])
def test_what_stands_before_the_host_of_a_source_opens_for_its_address_only(written: str) -> None:
    held, url = secrets("k"), f"http://{written}a.example:81/x@y?z#f"
    bare, sealed = held.seal_userinfo(url)
    assert bare == "http://a.example:81/x@y?z#f"
    assert SECRET not in sealed
    assert with_credentials(bare, held.open_userinfo(bare, sealed)) == url
    if written:
        with pytest.raises(SecretKeyWrong):
            held.open_userinfo("http://evil.example/x@y?z#f", sealed)


def test_credentials_of_sources_are_told_apart_by_who_has_the_key() -> None:
    one, other = "http://u:hush-0815@a.example/", "http://u:hush-0816@a.example/"
    assert secrets("k").fingerprint(one) == secrets("k").fingerprint(one)
    assert len({secrets("k").fingerprint(one), secrets("k").fingerprint(other), secrets("l").fingerprint(one)}) == 3
    assert secrets("k").fingerprint("http://a.example/") == ""
