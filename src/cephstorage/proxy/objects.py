"""Published URLs: ``GET /objects/{bucket}/{key}?expires&signature``, the bytes of one key without a token."""

from urllib.parse import parse_qs, quote

from cephstorage.domain.errors import InvalidName, KeyNotFound, SignatureInvalid
from cephstorage.domain.names import BucketName, decode_target, key_name
from cephstorage.domain.records import Record
from cephstorage.proxy.answer import of_record
from cephstorage.proxy.exchange import Exchange
from cephstorage.proxy.stored import Dressed, StoredAnswers
from cephstorage.services.publishing import Publishing

PREFIX = "/objects/"


class Objects:
    """Serves published keys."""

    def __init__(self, stored: StoredAnswers, publishing: Publishing) -> None:
        self._stored = stored
        self._publishing = publishing

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request. Raises SignatureInvalid, KeyNotFound, InvalidKey."""
        request = exchange.request
        if request.method not in {"GET", "HEAD"}:
            await exchange.refuse("method_not_allowed", "A published address answers GET and HEAD.")
            return
        bucket, key = _named(request.raw_path)
        query = parse_qs(request.raw_query, keep_blank_values=True)
        expires, signature = query.get("expires", [""])[0], query.get("signature", [""])[0]
        self._publishing.check(request.method, bucket, key, expires, signature)
        extra = [("x-content-type-options", "nosniff"), ("cache-control", "private, no-cache")]
        if "download" in query:
            extra.append(("content-disposition", _attachment(key)))

        def dress(record: Record) -> Dressed:
            return Dressed(of_record(record), extra)

        record = await self._stored.keys.get(bucket, key)
        if record is None or not await self._stored.send(exchange, record, dress, internal_cache=True):
            raise KeyNotFound(f"There is no key {key!r} in the bucket {bucket}.")


def _named(raw_path: str) -> tuple[BucketName, str]:
    raw_bucket, _, raw_key = raw_path.removeprefix(PREFIX).partition("/")
    try:
        bucket = BucketName.parse(decode_target(raw_bucket.encode("latin-1")))
    except InvalidName as error:
        raise SignatureInvalid("This address was not published by this service.") from error
    return bucket, key_name(decode_target(raw_key.encode("latin-1")))


def _attachment(key: str) -> str:
    """Content-Disposition that makes browsers save under the key's last segment (RFC 6266, RFC 8187)."""
    name = key.rstrip("/").rpartition("/")[2] or "download"
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"
