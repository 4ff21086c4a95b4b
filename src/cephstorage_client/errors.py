"""What can go wrong between a program and the service, as the program sees it."""

TRANSIENT = frozenset({429, 502, 503, 504})


class ClientError(Exception):
    """Root of this package's errors. ``msg`` is one sentence for a person."""

    def __init__(self, msg: str) -> None:
        super().__init__(msg)
        self.msg = msg


class ApiError(ClientError):
    """The service answered with an error: HTTP ``status``, stable ``code``, and ``retry_after`` in seconds if it said so."""

    def __init__(self, status: int, code: str, msg: str, *, retry_after: float | None = None) -> None:
        super().__init__(msg)
        self.status = status
        self.code = code
        self.retry_after = retry_after

    @property
    def transient(self) -> bool:
        """Whether the same request may work a little later."""
        return self.status in TRANSIENT


class ServiceUnreachable(ClientError):
    """No connection, a broken one, or no answer in time."""


class InvalidArgument(ClientError):
    """A base address, a key or a file name that can't be sent."""


class DownloadInterrupted(ClientError):
    """The bytes stopped coming, and resuming did not help."""


class VerificationFailed(ClientError):
    """The bytes that arrived do not have the md5 of the record."""


class WebhookRefused(ClientError):
    """A request to a receiver that the service did not send, or not now."""


class WaitTimeout(ClientError):
    """The transfer was still in progress when the time to wait for it was over; it goes on."""
