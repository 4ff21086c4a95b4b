"""What every command stands on: which service, which token, which form of output.

The address defaults to the service that this machine's settings describe. The admin token file is
used for that service and for loopback only: it is never sent to another machine.
"""

from collections.abc import Coroutine
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from cephstorage.cli.exits import Failure, UsageMistake
from cephstorage.cli.output import Output

if TYPE_CHECKING:
    from cephstorage.bootstrap.settings import Settings
    from cephstorage_client import Client

T = TypeVar("T")


@dataclass(frozen=True)
class Session:
    """The global options of one command. ``url`` and ``token`` None: to be found through the settings."""

    url: str | None = None
    token: str | None = None
    json: bool = False

    @property
    def output(self) -> Output:
        """Where results go."""
        return Output(self.json)

    @cached_property
    def settings(self) -> "Settings":
        """The settings of this machine. Raises UsageMistake naming the first wrong one."""
        return read_settings()

    @property
    def address(self) -> str:
        """The base address of the service."""
        if self.url:
            return self.url
        if self.settings.port == 0:
            raise UsageMistake("CEPHSTORAGE_PORT is 0 (any free port), so the service must be named with --url.")
        return self.settings.local_address()

    def here(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work of the service in this process. What it logs is a remark: standard output is the result's."""
        import asyncio

        from cephstorage.bootstrap import logs

        logs.configure(self.settings.log_format, "warning")
        return asyncio.run(work)

    def connect(self) -> "Client":
        """A client of the service."""
        from cephstorage_client import Client

        return Client(self.address, self.token or self._admin_token())

    def _admin_token(self) -> str | None:
        if self.url and not is_loopback(self.url):
            return None
        try:
            return self.settings.token_file.read_text().strip() or None
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Failure(f"The admin token can't be read ({error.strerror}): {self.settings.token_file}.") from error


def read_settings() -> "Settings":
    """Read the settings from the environment. Raises UsageMistake naming the first wrong one."""
    from pydantic import ValidationError

    from cephstorage.bootstrap.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "_".join(["CEPHSTORAGE", *(str(part).upper() for part in first["loc"][:2] if isinstance(part, str))])
        raise UsageMistake(f"The setting {name} is not usable: {first['msg']}.") from error


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine's loopback."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
