"""Endpoints of a bucket's trash."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from cephstorage.api.bodies import BoundedRoute
from cephstorage.api.context import ReadBucket, Services, WriteBucket
from cephstorage.api.keys import MOST_LISTED
from cephstorage.api.models import Json, Text, number, record_json
from cephstorage.domain.errors import InvalidInput
from cephstorage.domain.lifecycle import Trashed
from cephstorage.domain.listing import LARGEST_NUMBER

router = APIRouter(prefix="/ceph/{username}/{bucketname}/trash", tags=["keys"], route_class=BoundedRoute)
Generation = Annotated[int | None, Query(ge=1, le=LARGEST_NUMBER, description="One version of the key; default: all")]


class RestoreKey(BaseModel):
    """A version to be made visible again."""

    model_config = ConfigDict(extra="forbid")

    key: Text = Field(examples=["pets/cat.jpg"])
    generation: int | None = Field(None, ge=1, le=LARGEST_NUMBER, description="Default: the newest in the trash")
    over: bool = Field(False, description="Also in place of a key that is there now")


def trashed_json(trashed: Trashed) -> Json:
    """A version in the trash: its record, and how it came there and when it goes."""
    return {
        **record_json(trashed.record),
        "reason": trashed.reason.value,
        "trashed": number(trashed.trashed_at),
        "due": number(trashed.due_at),
    }


@router.get("")
async def list_trash(
    bucket: ReadBucket,
    parts: Services,
    prefix: Annotated[str, Query(description="Only keys that begin with this")] = "",
    limit: Annotated[int, Query(ge=1, description="Most versions")] = MOST_LISTED,
    cursor: str | None = None,
) -> Json:
    """What may be restored, by key and generation."""
    page = await parts.trash.listing(bucket, prefix, min(limit, MOST_LISTED), cursor)
    return {"versions": [trashed_json(each) for each in page.versions], "cursor": page.cursor}


@router.post("/restore", status_code=201)
async def restore_key(bucket: WriteBucket, wish: RestoreKey, parts: Services) -> Json:
    """Make a version visible again. 412 if there is a key of that name now, unless it is to be replaced."""
    record = await parts.trash.restore(bucket, wish.key, wish.generation, over=wish.over)
    return record_json(record, parts.publishing.url(record))


@router.delete("", status_code=202)
async def empty_trash(
    bucket: WriteBucket,
    request: Request,
    parts: Services,
    key: Annotated[str | None, Query(description="Only this key; default: everything")] = None,
    generation: Generation = None,
) -> Json:
    """Remove versions for good, in the background: all of the bucket's, or those of a key."""
    if strange := sorted(set(request.query_params) - {"key", "generation"}):
        raise InvalidInput(f"query: there is no {strange[0]!r} here; without key, everything would go.")
    return {"msg": "trash_emptied", "versions": await parts.trash.empty(bucket, key, generation)}
