"""Endpoints of deletions of many keys: asked for, followed, stopped."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cephstorage.api.bodies import LARGEST_JSON, bounded_body
from cephstorage.api.context import ReadBucket, Services, WriteBucket
from cephstorage.api.faults import told
from cephstorage.api.models import Json, Text, number
from cephstorage.domain.deletions import MOST_KEYS, Deletion, DeletionWish, deletion_wish
from cephstorage.domain.errors import InvalidInput

router = APIRouter(prefix="/ceph/{username}/{bucketname}", tags=["keys"])


class DeleteKeys(BaseModel):
    """Keys to be deleted: a list, all with a prefix, all below a folder, or all of the bucket."""

    model_config = ConfigDict(extra="forbid")

    keys: list[Text] | None = Field(None, min_length=1, max_length=MOST_KEYS)
    prefix: Text | None = Field(None, examples=["logs/2024-"])
    vfolder: Text | None = Field(None, examples=["logs/2024"])
    everything: Annotated[bool, Field(alias="all", description="Empty the bucket")] = False

    def wish(self) -> DeletionWish:
        """The wish as the service takes it."""
        return deletion_wish(self.keys, self.prefix, self.vfolder, self.everything)


_DOC = {"requestBody": {"required": True, "content": {"application/json": {"schema": DeleteKeys.model_json_schema()}}}}


def deletion_json(deletion: Deletion) -> Json:
    """How far a deletion is."""
    error = {"code": deletion.error_code, "msg": deletion.error_msg} if deletion.error_code else None
    return {
        "id": deletion.id,
        "bucket": str(deletion.bucket),
        "prefix": deletion.prefix,
        "progress": deletion.state.value,
        "state": deletion.state.value,
        "keys_deleted": deletion.done,
        "keys_missing": deletion.missing,
        "keys_total": deletion.total,
        "error": error,
        "created": number(deletion.created_at),
        "updated": number(deletion.updated_at),
        "ended": number(deletion.ended_at),
    }


@router.post("/deletions", status_code=202, openapi_extra=_DOC)
async def create_deletion(bucket: WriteBucket, request: Request, parts: Services) -> Json:
    """Delete many keys in the background, as they are now: what is stored later under the same names stays."""
    body = await bounded_body(request, LARGEST_JSON)
    try:
        wish = DeleteKeys.model_validate_json(body).wish()
    except ValidationError as error:
        raise InvalidInput(told(error.errors(include_url=False)[0])) from error
    return deletion_json(await parts.deletions.create(bucket, wish))


@router.get("/deletions")
async def list_deletions(bucket: ReadBucket, parts: Services) -> Json:
    """The newest deletions of the bucket, at most 200."""
    return {"deletions": [deletion_json(each) for each in await parts.deletions.of_bucket(bucket)]}


@router.get("/deletions/{name}")
async def get_deletion(bucket: ReadBucket, name: str, parts: Services) -> Json:
    """How far a deletion is."""
    return deletion_json(await parts.deletions.get(bucket, name))


@router.delete("/deletions/{name}")
async def cancel_deletion(bucket: WriteBucket, name: str, parts: Services) -> Json:
    """Stop a deletion. What it has deleted stays deleted."""
    return deletion_json(await parts.deletions.cancel(bucket, name))
