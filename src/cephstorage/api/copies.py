"""Endpoints of copies and renames within a tenant."""

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt

from cephstorage.api.bodies import BoundedRoute
from cephstorage.api.context import ApiServices, Services, WriteBucket
from cephstorage.api.models import EXPIRES, Json, Text, record_json
from cephstorage.domain.names import BucketName
from cephstorage.domain.records import Precondition
from cephstorage.services.key_copies import CopyOrder, CopyUnderWay

router = APIRouter(prefix="/ceph/{username}/{bucketname}", tags=["keys"], route_class=BoundedRoute)
_RESPONSES: dict[int | str, Any] = {202: {"description": "It goes on; its token tells how far it is"}}


class CopyKey(BaseModel):
    """A key to be copied or renamed into the bucket of the address."""

    model_config = ConfigDict(extra="forbid")

    source_key: Text = Field(description="The key that is there", examples=["drafts/cat.jpg"])
    source_bucket: Text | None = Field(None, description="Its bucket's name, of the same tenant; default: this one")
    key: Text = Field(description="The key to be", examples=["pets/cat.jpg"])
    if_source_match: Text | None = Field(None, description="Only if the source has this ETag")
    if_absent: bool = Field(False, description="Only if the key does not exist")
    if_match: Text | None = Field(None, description="Only if the key has this ETag")
    content_type: Text | None = Field(None, description="Default: the source's")
    timetag: Text | StrictInt | StrictFloat | None = Field(None, description="Creation time; default: the source's")
    metadata: dict[Text, Text] | None = Field(None, description="In place of the source's")
    expires: Text | StrictInt | StrictFloat | None = Field(None, description=EXPIRES)

    def order(self, bucket: BucketName, *, moves: bool) -> CopyOrder:
        """The wish as the service takes it."""
        return CopyOrder(
            source_bucket=bucket if self.source_bucket is None else BucketName(bucket.username, self.source_bucket),
            source_key=self.source_key,
            key=self.key,
            moves=moves,
            if_source_match=self.if_source_match,
            precondition=Precondition(self.if_absent, self.if_match),
            content_type=self.content_type,
            timetag=self.timetag,
            metadata=self.metadata,
            expires=self.expires,
        )


@router.post("/copies", status_code=201, responses=_RESPONSES)
async def copy_key(bucket: WriteBucket, wish: CopyKey, parts: Services, response: Response) -> Json:
    """Copy a key within the store. To its own name: a new version with another type or other metadata."""
    return await _made(bucket, wish.order(bucket, moves=False), parts, response)


@router.post("/renames", status_code=201, responses=_RESPONSES)
async def rename_key(bucket: WriteBucket, wish: CopyKey, parts: Services, response: Response) -> Json:
    """Rename a key: the new name comes and the old one goes at once, or neither."""
    return await _made(bucket, wish.order(bucket, moves=True), parts, response)


async def _made(bucket: BucketName, order: CopyOrder, parts: ApiServices, response: Response) -> Json:
    made = await parts.copies.make(bucket, order)
    if isinstance(made, CopyUnderWay):
        response.status_code = 202
        return {"token": made.token, "key": order.key}
    return record_json(made, parts.publishing.url(made))
