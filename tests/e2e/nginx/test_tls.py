"""TLS by SNI with certificates from a folder, HTTP/2, and a renewed certificate that works at once."""

import shutil
import socket
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.nginx.wire import Wire
from tests.harness.edge import Edge
from tests.harness.origin import FaultOrigin
from tests.harness.patience import until
from tests.harness.ports import free_port
from tests.harness.programs import require
from tests.harness.service import Service
from tests.harness.tls import Certificate, make_certificate


def install(folder: Path, name: str, alternative: str) -> Certificate:
    """A certificate under a name in the edge's folder."""
    fresh = folder / f".{name}"
    fresh.mkdir()
    made = make_certificate(fresh, alternative)
    placed = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
    shutil.move(made.cert, placed.cert)
    shutil.move(made.key, placed.key)
    fresh.rmdir()
    return placed


@pytest.fixture
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """An edge that speaks TLS too, with two certificates and a default."""
    folder = tmp_path_factory.mktemp("tls")
    certificates = folder / "certificates"
    certificates.mkdir()
    for name, alternative in (
        ("files.test", "DNS:files.test"),
        ("_.mirrors.test", "DNS:*.mirrors.test"),
        ("default", "DNS:default.test"),
    ):
        install(certificates, name, alternative)
    with FaultOrigin() as proxy:
        port = free_port()
        listen = {"edge_listen_tls": f"127.0.0.1:{port}", "edge_certificates": str(certificates)}
        edge = Edge(Service(folder / "data"), [f"127.0.0.1:{proxy.port}"], **listen)
        edge.tls_port = port
        yield Wire(edge.start(), proxy)
        edge.stop()


def shown(edge: Edge, name: str | None, trusted: Path) -> set[str]:
    """The host names of the certificate that a client sees, verified against ``trusted``."""
    context = ssl.create_default_context(cafile=str(trusted))
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", edge.tls_port), timeout=30) as sock,
        context.wrap_socket(sock, server_hostname=name) as tls,
    ):
        certificate = tls.getpeercert()
        assert certificate is not None
        return {str(value) for _, value in certificate["subjectAltName"]}


def folder_of(wire: Wire) -> Path:
    return Path(wire.edge.settings["edge_certificates"])


@pytest.mark.parametrize(
    ("asked", "file", "names"),
    [
        ("files.test", "files.test", {"files.test"}),
        ("FILES.test", "files.test", {"files.test"}),
        ("debian.mirrors.test", "_.mirrors.test", {"*.mirrors.test"}),
        ("unknown.test", "default", {"default.test"}),
        (None, "default", {"default.test"}),
    ],
)
def test_the_certificate_follows_the_name(secure: Wire, asked: str | None, file: str, names: set[str]) -> None:
    assert shown(secure.edge, asked, folder_of(secure) / f"{file}.crt") == names


def test_a_renewed_certificate_is_shown_at_once_and_a_new_name_soon(secure: Wire) -> None:
    folder = folder_of(secure)
    install(folder, "files.test", "DNS:files.test,DNS:renewed.test")
    assert shown(secure.edge, "files.test", folder / "files.test.crt") == {"files.test", "renewed.test"}
    install(folder, "new.test", "DNS:new.test")

    def seen() -> set[str]:
        try:
            return shown(secure.edge, "new.test", folder / "new.test.crt")
        except ssl.SSLCertVerificationError:
            return set()

    assert until(seen) == {"new.test"}


def test_http_2_and_the_clients_scheme(secure: Wire) -> None:
    require("curl")
    secure.put("/x", b"content")
    for host in ("files.test", "debian.mirrors.test"):
        command = ["curl", "-sk", "--http2", "--noproxy", "*", "-w", "\n%{http_version}"]
        place = f"{host}:{secure.edge.tls_port}:127.0.0.1"
        asked = [*command, "--resolve", place, f"https://{host}:{secure.edge.tls_port}/x"]
        assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "content\n2"
        seen = secure.last().headers
        assert (seen["host"], seen["x-forwarded-proto"]) == (host, "https")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(secure: Wire, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.options &= ~ssl.OP_NO_TLSv1 & ~ssl.OP_NO_TLSv1_1
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", secure.edge.tls_port), timeout=30) as sock,
        pytest.raises(ssl.SSLError),
    ):
        context.wrap_socket(sock, server_hostname="files.test")
