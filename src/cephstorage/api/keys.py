"""Endpoints of keys: create from a URL, upload, look up, list, delete."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.datastructures import Headers

from cephstorage.api.bodies import LARGEST_JSON, bounded_body, chunks
from cephstorage.api.context import Key, ReadBucket, Services, WriteBucket
from cephstorage.api.faults import told
from cephstorage.api.models import EXPIRES, CreateKey, Json, folder_json, record_json
from cephstorage.domain.digests import Digest, parse_digest_field, parse_md5
from cephstorage.domain.errors import ContentCodingUnsupported, InvalidDigest, InvalidInput
from cephstorage.domain.listing import LARGEST_NUMBER
from cephstorage.domain.metadata import metadata_in
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import ListQuery, Precondition, parse_timetag
from cephstorage.services.keys import UploadOrder

router = APIRouter(prefix="/ceph/{username}/{bucketname}", tags=["keys"])

MOST_ITEMS = 10_000
MOST_LISTED = 1000
_BATCH_TYPES = {"application/x-ndjson", "application/ndjson", "application/jsonl"}
_CREATE_DOC: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [CreateKey.model_json_schema(), {"type": "array", "items": CreateKey.model_json_schema()}]
                },
                "examples": {
                    "one": {"value": {"key_url": "https://example.org/cat.jpg", "key_name": "pets/cat.jpg"}},
                    "batch": {"value": [{"key_url": "https://example.org/cat.jpg", "key_name": "pets/cat.jpg"}]},
                },
            },
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    }
}
IdempotencyKey = Annotated[str | None, Header(description="Repeating a request with the same value is harmless")]


@router.post("/keys", status_code=202, openapi_extra=_CREATE_DOC)
async def create_keys(
    bucket: WriteBucket, request: Request, parts: Services, idempotency_key: IdempotencyKey = None
) -> Any:
    """Create a key from a URL in the background, or many (a list, or one item a line): one token each."""
    items, batch = await _read_items(request)
    if not batch:
        return await _create(parts, bucket, items, idempotency_key, None)
    tokens = await _tokens(parts, bucket, items, idempotency_key, None)
    return [{"key": item.key_name, "token": token} for item, token in zip(items, tokens, strict=True)]


@router.post("/keys/{key:path}", status_code=202, openapi_extra=_CREATE_DOC)
async def create_key(
    bucket: WriteBucket, key: Key, request: Request, parts: Services, idempotency_key: IdempotencyKey = None
) -> Json:
    """Create the key in the path from a URL in the background."""
    items, batch = await _read_items(request)
    if batch:
        raise InvalidInput("Send one item to the address of a key; send lists to .../keys.")
    return await _create(parts, bucket, items, idempotency_key, key)


async def _create(
    parts: Services, bucket: BucketName, items: Sequence[CreateKey], idempotency_key: str | None, key: str | None
) -> Json:
    tokens = await _tokens(parts, bucket, items, idempotency_key, key)
    return {"token": tokens[0], "key": key or items[0].key_name}


async def _tokens(
    parts: Services, bucket: BucketName, items: Sequence[CreateKey], idempotency_key: str | None, key: str | None
) -> list[str]:
    return await parts.keys.create(bucket, [item.order(_name(item, key)) for item in items], idempotency_key)


def _name(item: CreateKey, key_in_path: str | None) -> str:
    if key_in_path is not None and item.key_name not in {None, key_in_path}:
        raise InvalidInput("key_name differs from the key in the address.")
    name = key_in_path if key_in_path is not None else item.key_name
    if name is None:
        raise InvalidInput("key_name is missing.")
    return name


async def _read_items(request: Request) -> tuple[list[CreateKey], bool]:
    """The items of a creation, and whether they came as a batch. Raises InvalidInput, BodyTooLarge."""
    body = await bounded_body(request, LARGEST_JSON)
    lines = request.headers.get("content-type", "").partition(";")[0].strip().lower() in _BATCH_TYPES
    try:
        content = [json.loads(line) for line in body.splitlines() if line.strip()] if lines else json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("The body is not valid JSON.") from error
    batch = isinstance(content, list)
    raw_items = content if batch else [content]
    if not 1 <= len(raw_items) <= MOST_ITEMS:
        raise InvalidInput(f"A batch has 1 to {MOST_ITEMS} items; this one has {len(raw_items)}.")
    return [_item(number, raw) for number, raw in enumerate(raw_items, start=1)], batch


def _item(number: int, raw: Any) -> CreateKey:
    try:
        return CreateKey.model_validate(raw)
    except ValidationError as error:
        raise InvalidInput(f"Item {number}: {told(error.errors(include_url=False)[0], 'item')}") from error


@router.put("/keys/{key:path}", status_code=201)
async def upload_key(
    bucket: WriteBucket,
    key: Key,
    request: Request,
    parts: Services,
    md5: Annotated[str | None, Query(description="The bytes must match it (hex or base64)")] = None,
    timetag: Annotated[str | None, Query(description="Creation time: epoch seconds or ISO 8601")] = None,
    if_absent: Annotated[bool, Query(description="Only if the key does not exist")] = False,
    if_match: Annotated[str | None, Query(description="Only if the key has this ETag")] = None,
    expires: Annotated[str | None, Query(description=EXPIRES)] = None,
) -> Any:
    """Store the body as the key. The answer comes when it is durable, verified and visible.

    Headers `x-amz-meta-NAME` are kept with the key.
    """
    headers = request.headers
    _check_content(headers)
    order = UploadOrder(
        key,
        headers.get("content-type"),
        _md5([md5, *headers.getlist("md5"), *headers.getlist("content-md5")]),
        timetag or headers.get("timetag"),
        Precondition(if_absent or headers.get("if-none-match") == "*", if_match or _field(headers, "if-match")),
        _length(headers.get("content-length")),
        _digests(headers),
        metadata_in(headers.items()),
        expires,
    )
    record = await parts.keys.upload(bucket, order, chunks(request))
    return record_json(record, parts.publishing.url(record))


def _check_content(headers: Headers) -> None:
    """Raise for a body that is not the content of a key: InvalidInput for a part of it, ContentCodingUnsupported."""
    if "content-range" in headers:
        raise InvalidInput(
            "A body is stored as the whole key, and Content-Range says that it is a part; send all of it."
        )
    if (_field(headers, "content-encoding") or "identity").lower() != "identity":
        raise ContentCodingUnsupported(
            "A body is stored as it comes, without its Content-Encoding: its readers would not know of it. Send the bytes uncoded."
        )


def _md5(promised: Sequence[str | None]) -> str | None:
    """The one md5 that is promised in several places. Raises InvalidDigest."""
    found = {md5 for text in promised if (md5 := parse_md5(text)) is not None}
    if len(found) > 1:
        raise InvalidDigest("Two md5s of the body are promised, and they differ.")
    return next(iter(found), None)


def _digests(headers: Headers) -> tuple[Digest, ...]:
    """Every digest of the body that is promised beside its md5. Raises InvalidDigest."""
    fields = (_field(headers, name) for name in ("repr-digest", "content-digest"))
    return tuple(digest for field in fields if field is not None for digest in parse_digest_field(field))


def _field(headers: Headers, name: str) -> str | None:
    """A field that is a list, which may stand in several lines (RFC 9110 section 5.3)."""
    return ", ".join(headers.getlist(name)) or None


def _length(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


@router.get("/keys")
async def list_keys(
    bucket: ReadBucket,
    parts: Services,
    vfolder: Annotated[str | None, Query(description="A folder; without it and without prefix, the root")] = None,
    prefix: Annotated[str, Query(description="Only keys that begin with this")] = "",
    recursive: Annotated[bool, Query(description="Folders below, too")] = False,
    q: Annotated[str, Query(description="Only keys that contain this")] = "",
    glob: Annotated[
        str,
        Query(
            description="Only keys that match: * within a segment, ** across, ? one character; "
            "from the root if it begins with /, else at the end of any path"
        ),
    ] = "",
    content_type: str = "",
    md5: Annotated[str, Query(description="Only keys whose bytes have it (hex or base64)")] = "",
    size_min: Annotated[int | None, Query(ge=0, le=LARGEST_NUMBER, description="Bytes, inclusive")] = None,
    size_max: Annotated[int | None, Query(ge=0, le=LARGEST_NUMBER, description="Bytes, inclusive")] = None,
    ts_min: Annotated[str, Query(description="Epoch seconds or ISO 8601, inclusive")] = "",
    ts_max: Annotated[str, Query(description="Epoch seconds or ISO 8601, inclusive")] = "",
    order: Annotated[Literal["asc", "desc"], Query(description="By the bytes of names")] = "asc",
    metadata: Annotated[bool, Query(description="With the callers' metadata")] = False,
    limit: Annotated[int, Query(ge=1, description="Most entries, folders included")] = MOST_LISTED,
    cursor: str | None = None,
) -> Json:
    """List a folder: its direct sub-folders, then its keys, in byte order.

    Filters concern keys. A filter looks at a bounded number of keys a request: a page may be short, or empty,
    and still have a cursor. The listing ends with the page whose cursor is null.
    """
    query = ListQuery(
        vfolder=vfolder if vfolder is not None else (None if prefix or recursive else ""),
        prefix=prefix,
        recursive=recursive,
        contains=q,
        content_type=content_type,
        limit=min(limit, MOST_LISTED),
        cursor=cursor,
        descending=order == "desc",
        glob=glob,
        md5=parse_md5(md5) or "",
        size_min=size_min,
        size_max=size_max,
        ts_min=parse_timetag(ts_min),
        ts_max=parse_timetag(ts_max),
    )
    page = await parts.keys.listing(bucket, query)
    return {
        "keys": [record_json(record, metadata=metadata) for record in page.keys],
        "vfolders": list(page.vfolders),
        "cursor": page.cursor,
    }


@router.get("/folders")
async def folder_usage(
    bucket: ReadBucket,
    parts: Services,
    vfolder: Annotated[str, Query(description="A folder; without it, the root")] = "",
    limit: Annotated[int, Query(ge=1, description="Most sub-folders")] = MOST_LISTED,
    cursor: str | None = None,
) -> Json:
    """How many bytes and keys a folder holds, and each of its direct sub-folders; all below them counts."""
    usage = await parts.keys.usage(bucket, vfolder, min(limit, MOST_LISTED), cursor)
    return {
        **folder_json(usage.folder),
        "vfolders": [folder_json(each) for each in usage.vfolders],
        "cursor": usage.cursor,
    }


@router.get("/keys/{key:path}")
@router.head("/keys/{key:path}")
async def get_key(
    bucket: ReadBucket,
    key: Key,
    parts: Services,
    expires_in: Annotated[int | None, Query(ge=1, le=10 * 365 * 86400, description="Validity of url, seconds")] = None,
) -> Any:
    """The record of a key and its published address."""
    record = await parts.keys.get(bucket, key)
    shown = record_json(record, parts.publishing.url(record, expires_in))
    return JSONResponse(shown, headers={"etag": record.etag} if record.etag else None)


@router.delete("/keys/{key:path}")
async def delete_key(bucket: WriteBucket, key: Key, parts: Services) -> Json:
    """Delete a key."""
    await parts.keys.delete(bucket, key)
    return {"msg": "key_deleted"}
