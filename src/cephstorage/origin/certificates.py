"""Private CAs and client certificates of origins: files in one folder, by the names that mirrors use.

``NAME.ca.crt`` is the only CA that an origin with ``ca: NAME`` is trusted by; ``NAME.crt`` and ``NAME.key`` are what
one with ``client_certificate: NAME`` is shown. A file that is replaced holds for the next connection. Keys lie
nowhere else: a mirror's row names them only.
"""

import ssl
from collections.abc import Sequence
from pathlib import Path

from cephstorage.domain.errors import OriginUnreachable

Names = tuple[str | None, str | None]


class OriginCertificates:
    """Makes TLS contexts, once for each state of the files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[Names, tuple[Sequence[int], ssl.SSLContext]] = {}

    def context(self, ca: str | None, client: str | None) -> ssl.SSLContext | None:
        """The context for these names; None when there are none. Raises OriginUnreachable."""
        if ca is None and client is None:
            return None
        names = [*([f"{ca}.ca.crt"] if ca else []), *([f"{client}.crt", f"{client}.key"] if client else [])]
        try:
            state = [(self._folder / name).stat().st_mtime_ns for name in names]
            known = self._made.get((ca, client))
            if known is None or known[0] != state:
                known = self._made[ca, client] = (state, self._context(ca, client))
        except (OSError, ssl.SSLError) as error:
            raise OriginUnreachable(
                f"TLS: {', '.join(names)} in {self._folder} (CEPHSTORAGE_ORIGIN_CERTIFICATES) can't be used: "
                f"{error.strerror or 'no valid PEM, or a key of another certificate'}."
            ) from None
        return known[1]

    def _context(self, ca: str | None, client: str | None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self._folder / f"{ca}.ca.crt") if ca else None)
        context.set_alpn_protocols(["http/1.1"])
        if client is not None:
            key = self._folder / f"{client}.key"
            context.load_cert_chain(self._folder / f"{client}.crt", key, password=_no_password)
        return context


def _no_password() -> bytes:
    """A key that is encrypted is refused: nobody is there to be asked."""
    return b""
