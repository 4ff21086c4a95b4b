"""Endpoints of the lives of a bucket's keys."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from cephstorage.api.bodies import BoundedRoute
from cephstorage.api.context import ReadBucket, Services, WriteBucket
from cephstorage.api.models import Json, Text, number
from cephstorage.domain.lifecycle import MOST_DAYS, MOST_RULES, ExpiryRule, Lifecycle, lifecycle_of

router = APIRouter(prefix="/ceph/{username}/{bucketname}", tags=["buckets"], route_class=BoundedRoute)


class ExpireKeys(BaseModel):
    """A rule of expiry."""

    model_config = ConfigDict(extra="forbid")

    prefix: Text = Field("", description="Keys that begin with this; empty: all", examples=["logs/"])
    days: float = Field(gt=0, le=MOST_DAYS, description="From when the key was stored")


class ChangeLifecycle(BaseModel):
    """How long the bucket's keys live. What is left out is switched off."""

    model_config = ConfigDict(extra="forbid")

    rules: list[ExpireKeys] = Field([], max_length=MOST_RULES)
    trash_days: float | None = Field(None, gt=0, le=MOST_DAYS, description="How long what is deleted may come back")
    trash_overwritten: bool = Field(False, description="What is replaced, too")

    def lifecycle(self) -> Lifecycle:
        """The settings as the service takes them."""
        rules = [ExpiryRule(rule.prefix, rule.days) for rule in self.rules]
        return lifecycle_of(rules, self.trash_days, self.trash_overwritten)


def lifecycle_json(lifecycle: Lifecycle) -> Json:
    """A bucket's settings."""
    return {
        "rules": [{"prefix": rule.prefix, "days": number(rule.days)} for rule in lifecycle.rules],
        "trash_days": number(lifecycle.trash_days),
        "trash_overwritten": lifecycle.trash_overwritten,
    }


@router.get("/lifecycle")
async def get_lifecycle(bucket: ReadBucket, parts: Services) -> Json:
    """How long the bucket's keys live."""
    return lifecycle_json(await parts.lifecycles.get(bucket))


@router.put("/lifecycle")
async def put_lifecycle(bucket: WriteBucket, wish: ChangeLifecycle, parts: Services) -> Json:
    """Replace the bucket's settings: new keys live by them at once, those that are there within moments."""
    await parts.lifecycles.put(bucket, wish.lifecycle())
    return lifecycle_json(await parts.lifecycles.get(bucket))
