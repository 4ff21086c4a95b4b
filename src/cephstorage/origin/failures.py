"""The one place where the HTTP client's exceptions become the domain's errors.

Messages are for the operator at three in the morning: which origin, what happened, in which step.
They name scheme, host and port, never a path, a query or a credential.
"""

import os
import ssl

import aiohttp

from cephstorage.domain.errors import (
    ForbiddenAddress,
    OriginBroken,
    OriginProtocol,
    OriginTimeout,
    OriginUnreachable,
    TransferError,
)

FOREIGN = (aiohttp.ClientError, OSError, TimeoutError, UnicodeError)
"""What the client raises while it asks or reads."""


def before_answer(error: Exception, origin: str) -> TransferError:
    """The error of a request that has no answer yet."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return OriginUnreachable(f"TLS: the certificate of {origin} is not trusted: {_certificate(error)}.")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return OriginUnreachable(f"The name of {origin} can't be resolved: {error.os_error}.")
    if isinstance(error, UnicodeError):
        return OriginUnreachable(f"The name of {origin} can't be looked up: it breaks the rules for host names.")
    if isinstance(error, aiohttp.ClientSSLError):
        return OriginUnreachable(f"TLS: the handshake with {origin} failed: {error.os_error}.")
    if isinstance(error, aiohttp.ClientConnectorError):
        return OriginUnreachable(f"No connection to {origin}: {_system_message(error.os_error)}.")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return OriginTimeout(f"{origin} did not accept a connection in time.")
    if isinstance(error, TimeoutError):
        return OriginTimeout(f"{origin} did not answer in time.")
    if isinstance(error, aiohttp.InvalidURL):
        return ForbiddenAddress(f"{origin} is not a host name, nor an address as it is usually written.")
    if isinstance(error, aiohttp.ServerConnectionError | OSError):
        return OriginBroken(f"{origin} ended the connection before it answered.")
    return OriginProtocol(f"The answer of {origin} is not valid HTTP: {_reason(error)}.")


def in_body(error: Exception, origin: str) -> TransferError:
    """The error of a body that did not arrive whole."""
    if isinstance(error, TimeoutError):
        return OriginTimeout(f"{origin} fell silent in the middle of the body.")
    return OriginBroken(f"{origin} ended the connection before the body was whole: {_reason(error)}.")


def _certificate(error: aiohttp.ClientConnectorCertificateError) -> str:
    cause = error.certificate_error
    return cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else type(cause).__name__


def _system_message(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _reason(error: BaseException) -> str:
    """What the parser complains of, in its own words only: what follows its colon quotes the origin."""
    cause = error.__cause__ or error
    message = getattr(cause, "message", None) or type(cause).__name__
    return str(message).partition(":")[0].rstrip(".")


def shown_cause(error: Exception) -> BaseException:
    """The exception to keep as the cause: one that does not carry the request, whose headers may hold credentials."""
    return (error.__cause__ or OSError(error.message)) if isinstance(error, aiohttp.ClientResponseError) else error
