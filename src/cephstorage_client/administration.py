"""Calls about the service itself: mirrors, access tokens, configuration, health."""

from collections.abc import Mapping
from typing import Any, Unpack, cast

from cephstorage_client.connection import Connection, given
from cephstorage_client.errors import ApiError
from cephstorage_client.names import encode_segment
from cephstorage_client.shapes.access import AccessToken
from cephstorage_client.shapes.buckets import Quota
from cephstorage_client.shapes.mirrors import Explanation, Mirror, MirrorOptions


class AdministrationCalls(Connection):
    """Mirrors, tokens, configuration and health. Every method raises ApiError and ServiceUnreachable."""

    def put_mirror(self, mirror: str, origin: str, bucket: str, **options: Unpack[MirrorOptions]) -> Mirror:
        """Create or replace the mirror of ``origin`` under the host name ``mirror``.

        ``bucket`` is a full name ``username___bucketname``.
        """
        body = given({**options, "mirror": mirror, "origin": origin, "bucket": bucket})
        return cast("Mirror", self._call("POST", "/mirrors/host", json=body))

    def mirrors(self, bucket: str | None = None) -> list[Mirror]:
        """Every mirror, or those of one bucket (full name)."""
        return cast("list[Mirror]", self._call("GET", "/mirrors/host", params={"bucket_name": bucket})["mirrors"])

    def delete_mirror(self, host: str) -> None:
        """Delete a mirror. What it has stored stays in its bucket."""
        self._call("DELETE", "/mirrors/host", params={"mirror_host": host})

    def sign_mirror_url(self, url: str, expires_in: int | None = None) -> str:
        """An address of a private mirror that anybody can read for ``expires_in`` seconds."""
        return str(self._call("POST", "/mirrors/sign", json=given({"url": url, "expires_in": expires_in}))["url"])

    def explain(self, url: str, *, ask: bool = False) -> Explanation:
        """What a mirror would do with a URL, and why; ``ask``: with what the origin answers to a HEAD."""
        params = {"url": url, **({"ask": "true"} if ask else {})}
        return cast("Explanation", self._call("GET", "/mirrors/explain", params=params))

    def create_token(
        self, role: str, *, username: str | None = None, label: str | None = None, expires_in: float | None = None
    ) -> AccessToken:
        """Create an access token, valid for ``expires_in`` seconds. Its secret is never shown again."""
        body = {"role": role, "username": username, "label": label, "expires_in": expires_in}
        return cast("AccessToken", self._call("POST", "/tokens", json=given(body)))

    def tokens(self) -> list[AccessToken]:
        """Every access token, without the secrets."""
        return cast("list[AccessToken]", self._call("GET", "/tokens")["tokens"])

    def revoke_token(self, token_id: str) -> None:
        """Revoke an access token by its id."""
        self._call("DELETE", f"/tokens/{encode_segment(token_id)}")

    def quotas(self) -> list[Quota]:
        """Every tenant and bucket that has a quota, at most 1,000 of each."""
        return cast("list[Quota]", self._call("GET", "/quotas")["quotas"])

    def quota(self, username: str, bucketname: str | None = None) -> Quota:
        """The quota of a bucket, or of all a tenant's buckets together."""
        return cast("Quota", self._call("GET", _quota_path(username, bucketname)))

    def set_quota(
        self, username: str, bucketname: str | None = None, *, size: int | None = None, keyamount: int | None = None
    ) -> Quota:
        """Bound a bucket, or all of a tenant's together, in bytes and keys; None: no limit."""
        body = given({"size": size, "keyamount": keyamount})
        return cast("Quota", self._call("PUT", _quota_path(username, bucketname), json=body))

    def config(self) -> dict[str, Any]:
        """The service's settings, without secrets; under ``settings`` those that can be changed, and their sources."""
        return cast("dict[str, Any]", self._call("GET", "/config"))

    def change_config(self, options: Mapping[str, str | None], *, probe: bool = True) -> dict[str, Any]:
        """Change options in every process, all or none; None takes one back to its default. The new settings.

        ``probe`` False stores a gateway that may not answer now.
        """
        params = {} if probe else {"probe": "false"}
        return cast("dict[str, Any]", self._call("PUT", "/config", params=params, json=dict(options)))

    def rotate_signing_key(self) -> None:
        """Draw a new signing key: every published URL of before is void."""
        self._call("POST", "/config/signing-key/rotate")

    def alive(self) -> bool:
        """Whether the service answers."""
        return bool(self._call("GET", "/healthz")["status"] == "ok")

    def ready(self) -> bool:
        """Whether the service can do its work now."""
        try:
            self._send("GET", "/readyz")
        except ApiError as error:
            if error.status == 503:
                return False
            raise
        return True

    def metrics(self) -> str:
        """The service's metrics in the Prometheus text format."""
        return self._send("GET", "/metrics").text


def _quota_path(username: str, bucketname: str | None) -> str:
    return "/quotas/" + "/".join(encode_segment(name) for name in (username, bucketname) if name is not None)
