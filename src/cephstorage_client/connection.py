"""One HTTP connection pool to the service: requests, JSON answers, errors translated once.

Proxies named in the environment are never used: the service is usually on loopback or on the same
network, and a token must not travel through a proxy that nobody chose for it.
"""

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from cephstorage_client.errors import ApiError, ClientError, InvalidArgument, ServiceUnreachable
from cephstorage_client.names import encode_key, encode_segment

CONNECT_TIMEOUT = 10.0
ANSWER_TIMEOUT = 60.0
LANDING_TIMEOUT = 900.0
"""Seconds that the answer may take where a large object is made durable, or read, before it comes."""


class Connection:
    """Sends requests to one service. Use it as a context manager, or call ``close``."""

    def __init__(self, base_url: str, token: str | None = None, *, timeout: float = ANSWER_TIMEOUT) -> None:
        self.base_url = base_url.rstrip("/")
        if not self.base_url.startswith(("http://", "https://")):
            raise InvalidArgument(f"The service's address {base_url!r} must begin with http:// or https://.")
        if token and not (token.isascii() and token.isprintable()):  # said here, where the token itself is not
            raise InvalidArgument(
                "The access token can't be sent: it holds a line break or other characters of no token."
            )
        self._authorization = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = httpx.Timeout(timeout, connect=CONNECT_TIMEOUT)
        self._http = httpx.Client(trust_env=False, timeout=self._timeout, headers={"User-Agent": "cephstorage-client"})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.base_url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection. Idempotent."""
        self._http.close()

    def _call(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and return its decoded JSON. Raises ApiError, ServiceUnreachable."""
        response = self._send(method, path, **options)
        try:
            return response.json()
        except ValueError as error:
            raise ApiError(
                response.status_code, "unexpected_answer", f"{self.base_url} does not answer like CephStorage."
            ) from error

    def _pages(self, path: str, params: Mapping[str, Any]) -> Iterator[Any]:
        """Every page of what is listed at ``path``, each fetched when it is asked for."""
        page = self._call("GET", path, params=params)
        yield page
        while page["cursor"] is not None:
            page = self._call("GET", path, params={**params, "cursor": page["cursor"]})
            yield page

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request; ``options`` are those of ``_request``. Raises ApiError, ServiceUnreachable, InvalidArgument."""
        request = self._request(method, path, **options)
        try:
            response = self._http.send(request)
        except httpx.HTTPError as error:
            raise unreachable(self.base_url, error) from error
        if not response.is_success:
            raise api_error(response)
        return response

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        content: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> httpx.Request:
        """A request as it will be sent. Raises InvalidArgument for what HTTP or JSON can't carry."""
        try:
            return self._http.build_request(
                method,
                self.base_url + path,
                params=given(params or {}) or None,
                json=json,
                content=content,
                headers={**self._authorization, **(headers or {})},
                timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT) if timeout else self._timeout,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise InvalidArgument(f"The request can't be sent: {error}.") from error


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that were given: None is left out. A False is said: it is not the API's default everywhere."""
    return {name: value for name, value in values.items() if value is not None}


def bucket_path(username: str, bucketname: str) -> str:
    """The path of a bucket."""
    return f"/ceph/{encode_segment(username)}/{encode_segment(bucketname)}"


def key_path(username: str, bucketname: str, key: str) -> str:
    """The path of a key."""
    if not key:
        raise InvalidArgument("The key is empty.")
    return f"{bucket_path(username, bucketname)}/keys/{encode_key(key)}"


def unreachable(where: str, error: Exception) -> ClientError:
    """Translate a failure of the HTTP client."""
    if isinstance(error, httpx.InvalidURL | httpx.LocalProtocolError):
        return InvalidArgument(f"The request can't be sent: {error}.")
    reason = str(error) or type(error).__name__
    return ServiceUnreachable(f"{where} does not answer ({reason}).")


def api_error(response: httpx.Response) -> ApiError:
    """Read a problem document (RFC 9457); a foreign answer becomes the code ``http_<status>``."""
    status = response.status_code
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    return ApiError(
        status,
        str(problem.get("code") or f"http_{status}"),
        str(problem.get("msg") or problem.get("detail") or f"The service answered {status} {response.reason_phrase}."),
        retry_after=_seconds(response.headers.get("retry-after")),
    )


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() else None
