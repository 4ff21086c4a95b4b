"""Options: what each takes, in which form it is kept, and which do not go together."""

import pytest

from cephstorage.domain.configuration import OPTIONS, check_together, missing_for_ceph, option
from cephstorage.domain.errors import InvalidSetting

DEFAULTS = {name: known.default for name, known in OPTIONS.items()}


@pytest.mark.parametrize(
    ("name", "text", "kept"),
    [
        ("public_address", "https://Files.Example.org/store/", "https://files.example.org/store"),
        ("public_address", "http://[::1]:8080", "http://[::1]:8080"),
        ("ceph_gateway", "http://10.0.0.1:7480/", "http://10.0.0.1:7480"),
        ("ceph_gateway", "http://rgw:80", "http://rgw"),
        ("ceph_public_address", "https://s3.example.org:443", "https://s3.example.org"),
        ("ceph_public_address", "https://s3.example.org:8443", "https://s3.example.org:8443"),
        ("ceph_access_key", "AKIA/+=", "AKIA/+="),
        ("ceph_secret_key", "s" * 128, "s" * 128),
        ("ceph_region", "eu-west_1", "eu-west_1"),
        ("ceph_ca_file", "/etc/ssl/ca.pem", "/etc/ssl/ca.pem"),
        ("download_path", "/var/spool/cs/", "/var/spool/cs"),
        ("publish_by", "rgw", "rgw"),
    ],
)
def test_good_values(name: str, text: str, kept: str) -> None:
    assert option(name).checked(text) == kept
    assert option(name).checked(kept) == kept


@pytest.mark.parametrize("known", OPTIONS.values(), ids=lambda known: known.name)
def test_examples_and_defaults_are_good(known: object) -> None:
    assert isinstance(known, type(option("publish_by")))
    assert known.checked(known.example) == known.example
    assert known.default in {"", known.checked(known.default or known.example)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(
            (name, text)
            for name in ("public_address", "ceph_gateway", "ceph_public_address")
            for text in (
                "rgw:7480", "ftp://rgw", "http://", "http:///x", "http://a b", "http://user:secret@rgw", "http://rgw?x=1",
                "http://rgw#x", "http://rgw:0", "http://rgw:65536", "http://rgw:x", "http://[::1", "http://[fe80::1%25x]",
                "http://räw", "http://rgw\n", "\thttp://rgw", "http://-", "http://a/\x00",
            )
        ),
        ("ceph_gateway", "http://rgw/path"),
        ("ceph_public_address", "http://rgw/path"),
        ("ceph_access_key", "a b"),
        ("ceph_access_key", "é"),
        ("ceph_secret_key", "x" * 129),
        ("ceph_region", "a b"),
        ("ceph_ca_file", "ca.pem"),
        ("download_path", "spool"),
        ("download_path", "/a\n"),
        ("publish_by", "both"),
        *((name, "") for name in OPTIONS),
        *((name, "x" * 1025) for name in OPTIONS),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(InvalidSetting, match=f"^{name}: ") as refused:
        option(name).checked(text)
    assert not OPTIONS[name].secret or not text or text not in refused.value.msg


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"^ceph_port: "):
        option("ceph_port")


def test_variables_are_named_after_options() -> None:
    assert option("ceph_gateway").variable == "CEPHSTORAGE_CEPH_GATEWAY"


def test_what_ceph_needs() -> None:
    assert missing_for_ceph(DEFAULTS) == ("ceph_gateway", "ceph_access_key", "ceph_secret_key")
    given = {**DEFAULTS, "ceph_gateway": "http://rgw", "ceph_access_key": "a", "ceph_secret_key": "s"}
    assert missing_for_ceph(given) == ()


def test_presigned_urls_need_ceph_and_its_public_address() -> None:
    presigned = {**DEFAULTS, "publish_by": "rgw"}
    check_together(DEFAULTS, on_ceph=False)
    with pytest.raises(InvalidSetting, match=r"publish_by.*ceph_public_address"):
        check_together(presigned, on_ceph=True)
    known = {**presigned, "ceph_public_address": "https://s3.example.org"}
    check_together(known, on_ceph=True)
    with pytest.raises(InvalidSetting, match=r"publish_by.*store ceph"):
        check_together(known, on_ceph=False)
