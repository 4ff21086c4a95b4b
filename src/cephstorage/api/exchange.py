"""Export and import of listings as NDJSON: a record a line, of any number, in bounded memory.

What an export with addresses writes, an import elsewhere reads: each line becomes a creation from the address,
verified by the md5. A record that is there already, with the same md5, is passed over; so an import that
broke off is simply sent again.
"""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, ValidationError

from cephstorage.api.bodies import chunks
from cephstorage.api.context import ApiServices, ReadBucket, Services, WriteBucket
from cephstorage.api.faults import told
from cephstorage.api.models import CreateKey, Json, Text, record_json
from cephstorage.domain.errors import CephStorageError, InvalidInput
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import ListQuery, Page
from cephstorage.services.keys import Order

router = APIRouter(prefix="/ceph/{username}/{bucketname}", tags=["keys"])

NDJSON = "application/x-ndjson"
LONGEST_LINE = 64 << 10
_AT_ONCE = 1000
_TOLD = 100
_LINES = {"schema": {"type": "string"}}
_IMPORT_DOC: dict[str, Any] = {"requestBody": {"required": True, "content": {NDJSON: _LINES, "text/plain": _LINES}}}


@router.get("/export", response_class=StreamingResponse, responses={200: {"content": {NDJSON: {}}}})
async def export_keys(
    bucket: ReadBucket,
    parts: Services,
    vfolder: Annotated[str, Query(description="Only what lies below this folder")] = "",
    prefix: Annotated[str, Query(description="Only keys that begin with this")] = "",
    urls: Annotated[bool, Query(description="With published addresses")] = False,
    expires_in: Annotated[int | None, Query(ge=1, le=10 * 365 * 86400, description="Their validity, seconds")] = None,
) -> StreamingResponse:
    """Every record, one a line, in byte order of the keys. A listing that breaks off is no whole HTTP answer."""
    query = ListQuery(vfolder or None, prefix, recursive=True)
    first = await parts.keys.listing(bucket, query)

    def line(record: Any) -> str:
        url = parts.publishing.url(record, expires_in) if urls else None
        return json.dumps(record_json(record, url), ensure_ascii=False) + "\n"

    async def lines() -> AsyncIterator[bytes]:
        page: Page = first
        while True:
            yield "".join(map(line, page.keys)).encode("utf-8", "replace")
            if page.cursor is None:
                return
            page = await parts.keys.listing(
                bucket, ListQuery(query.vfolder, query.prefix, recursive=True, cursor=page.cursor)
            )

    return StreamingResponse(lines(), media_type=NDJSON)


class ExportedKey(BaseModel):
    """A record as an export writes it; fields that an import does not need are passed over."""

    model_config = ConfigDict(extra="ignore")

    key: Text
    url: Text
    md5: Text | None = None
    content_type: Text | None = None
    ts: float | None = None
    metadata: dict[Text, Text] = {}
    expires: float | None = None

    def order(self) -> Order:
        """The wish as the service takes it."""
        return Order(
            self.key, self.url, self.content_type, self.md5, self.ts, metadata=self.metadata, expires=self.expires
        )


class _Import:
    """One import: what was read, taken on, passed over and refused."""

    def __init__(self, parts: ApiServices, bucket: BucketName) -> None:
        self._parts = parts
        self._bucket = bucket
        self._orders: list[tuple[int, Order]] = []
        self.lines = self.created = self.present = self.refused = 0
        self.errors: list[Json] = []

    async def take(self, raw: bytes) -> None:
        """One line."""
        self.lines += 1
        if not raw.strip():
            return
        try:
            order = _order(raw)
            self._parts.keys.check(self._bucket, order)
        except CephStorageError as error:
            self._refuse(self.lines, error)
            return
        self._orders.append((self.lines, order))
        if len(self._orders) >= _AT_ONCE:
            await self.flush()

    async def flush(self) -> None:
        """Take on what has been read, durably."""
        orders, self._orders = self._orders, []
        if not orders:
            return
        created, refused = await self._parts.keys.take_in(self._bucket, [order for _, order in orders])
        for number, error in refused:
            self._refuse(orders[number][0], error)
        self.created += created
        self.present += len(orders) - created - len(refused)

    def _refuse(self, line: int, error: CephStorageError) -> None:
        self.refused += 1
        if len(self.errors) < _TOLD:
            self.errors.append({"line": line, "code": error.code, "msg": error.msg})


def _order(raw: bytes) -> Order:
    """Read a line. Raises InvalidInput."""
    try:
        content = json.loads(raw)
        if isinstance(content, dict) and "key_url" in content:
            item = CreateKey.model_validate(content)
            if item.key_name is None:
                raise InvalidInput("key_name is missing.")
            return item.order(item.key_name)
        return ExportedKey.model_validate(content).order()
    except ValidationError as error:
        raise InvalidInput(told(error.errors(include_url=False)[0], "line")) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInput("The line is not valid JSON.") from error


@router.post("/import", status_code=202, openapi_extra=_IMPORT_DOC)
async def import_keys(bucket: WriteBucket, request: Request, parts: Services) -> Json:
    """Create keys from URLs in the background, one a line, of any number: an export with urls, or key_url and key_name.

    Lines that can't be used are counted, the first hundred with their reasons; all others are taken on.
    """
    await parts.buckets.get(bucket)
    work, rest = _Import(parts, bucket), b""
    async for chunk in chunks(request):
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise InvalidInput(f"Line {work.lines + len(whole) + 1} has more than {LONGEST_LINE} bytes.")
        for raw in whole:
            await work.take(raw)
    if rest.strip():
        await work.take(rest)
    await work.flush()
    return {
        "lines": work.lines,
        "created": work.created,
        "present": work.present,
        "refused": work.refused,
        "errors": work.errors,
    }
