"""The JSON shapes of the API: what comes in is validated here, what goes out is rendered here."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictFloat, StrictInt

from cephstorage.domain.access import AccessToken
from cephstorage.domain.quotas import LARGEST, Account, Quota
from cephstorage.domain.records import Bucket, Folder, Record
from cephstorage.domain.transfers import Phase, State, Transfer
from cephstorage.services.keys import Order

Json = dict[str, Any]


def number(seconds: float | None) -> float | int | None:
    """Seconds as JSON shows them: whole ones without a fraction."""
    return int(seconds) if seconds is not None and seconds == int(seconds) else seconds


def _encodable(text: str) -> str:
    text.encode("utf-8")
    return text


Text = Annotated[str, AfterValidator(_encodable)]


EXPIRES = "When the key ends: epoch seconds, ISO 8601, or a span from now such as 30d"


class CreateKey(BaseModel):
    """A key to be created from a URL."""

    model_config = ConfigDict(extra="forbid")

    key_url: Text = Field(description="Where the bytes are", examples=["https://example.org/pictures/cat.jpg"])
    key_name: Text | None = Field(None, description="The key; may stand in the path instead", examples=["pets/cat.jpg"])
    content_type: Text | None = Field(None, description="Default: what the source says", examples=["image/jpeg"])
    md5: Text | None = Field(None, description="The bytes must match it, or nothing is stored (hex or base64)")
    timetag: Text | StrictInt | StrictFloat | None = Field(None, description="Creation time: epoch seconds or ISO 8601")
    if_absent: bool = Field(False, description="Only if the key does not exist")
    if_match: Text | None = Field(None, description="Only if the key has this ETag")
    metadata: dict[Text, Text] = Field({}, description="Names and values of your own", examples=[{"project": "apollo"}])
    expires: Text | StrictInt | StrictFloat | None = Field(None, description=EXPIRES, examples=["30d"])

    def order(self, key: str) -> Order:
        """The wish as the service takes it."""
        return Order(
            key,
            self.key_url,
            self.content_type,
            self.md5,
            self.timetag,
            self.if_absent,
            self.if_match,
            self.metadata,
            self.expires,
        )


class SetQuota(BaseModel):
    """The most bytes and keys; what is left out is not limited."""

    model_config = ConfigDict(extra="forbid")

    size: StrictInt | None = Field(None, ge=0, le=LARGEST, description="Most bytes", examples=[10737418240])
    keyamount: StrictInt | None = Field(None, ge=0, le=LARGEST, description="Most keys", examples=[100000])

    def quota(self) -> Quota:
        """The limits as the service takes them."""
        return Quota(self.size, self.keyamount)


class CreateToken(BaseModel):
    """An access token to be made."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["admin", "tenant", "read-only"]
    username: Text | None = None
    label: Text = Field("", max_length=200, pattern=r"^[^\x00]*$")
    expires_in: float | None = Field(None, gt=0, le=3.2e9, description="Seconds; without it the token does not expire")


def record_json(record: Record, url: str | None = None, *, metadata: bool = True) -> Json:
    """A record: the six fields of the key index, then what this service adds; ``metadata`` if asked for and there is some.

    ``expires`` is what the caller wished, ``expires_at`` when the key ends by that or by a rule; both only if there are.
    """
    shown: Json = {
        "key": record.key,
        "ts": number(record.ts),
        "vfolder": record.vfolder,
        "md5": record.md5,
        "content_type": record.content_type,
        "size": record.size,
        "etag": record.etag,
        "last_modified": record.last_modified,
        "generation": record.generation,
        "source": record.source,
        "bucket": str(record.bucket),
    }
    ends = {"expires": record.expires, "expires_at": record.expires_at}
    shown |= {name: number(moment) for name, moment in ends.items() if moment is not None}
    if metadata and record.metadata:
        shown["metadata"] = dict(record.metadata)
    return shown if url is None else {**shown, "url": url}


def bucket_json(bucket: Bucket) -> Json:
    """A bucket and its usage; what its trash holds, if it holds anything."""
    trash = {"trash_size": bucket.trash_size, "trash_keyamount": bucket.trash_keys}
    return {
        "bucket": str(bucket.name),
        "username": bucket.name.username,
        "bucketname": bucket.name.bucketname,
        "size": bucket.size,
        "keyamount": bucket.keyamount,
        "created": number(bucket.created_at),
        "quota": quota_json(bucket.quota),
        **(trash if bucket.trash_keys else {}),
    }


def quota_json(quota: Quota) -> Json:
    """Limits; null: none."""
    return {"size": quota.size, "keyamount": quota.keyamount}


def account_json(account: Account) -> Json:
    """Whom a quota bounds, and what it leaves. ``bucketname`` null: all buckets of the tenant."""
    return {
        "username": account.username,
        "bucketname": account.bucket.bucketname if account.bucket is not None else None,
        "quota": quota_json(account.quota),
        "size": account.used.size,
        "keyamount": account.used.keys,
        "reserved": {"size": account.reserved.size, "keyamount": account.reserved.keys},
    }


def folder_json(folder: Folder) -> Json:
    """A folder and what it holds."""
    return {"vfolder": folder.vfolder, "size": folder.size, "keyamount": folder.keyamount}


def _tries(transfer: Transfer) -> int:
    """How often the transfer was begun: the tries that were given back, and the one under way or last."""
    begun = transfer.fence > 0 and transfer.phase is not Phase.QUEUED
    return transfer.attempts + (1 if begun else 0)


def transfer_json(transfer: Transfer) -> Json:
    """A progress record."""
    error = {"code": transfer.error_code, "msg": transfer.error_msg} if transfer.error_code else None
    waiting = transfer.state is State.INPROGRESS and transfer.not_before > transfer.updated_at
    return {
        "token": transfer.token,
        "progress": transfer.state.value,
        "state": transfer.state.value,
        "phase": transfer.phase.value,
        "bytes_done": transfer.bytes_done,
        "bytes_total": transfer.bytes_total,
        "attempts": _tries(transfer),
        "key": transfer.request.key,
        "bucket": str(transfer.request.bucket),
        "error": error,
        "created": number(transfer.created_at),
        "updated": number(transfer.updated_at),
        "ended": number(transfer.ended_at),
        "next_attempt": number(transfer.not_before) if waiting else None,
    }


def token_json(token: AccessToken) -> Json:
    """An access token, without its secret."""
    return {
        "id": token.id,
        "role": token.role.value,
        "username": token.username,
        "label": token.label,
        "created": number(token.created_at),
        "expires": number(token.expires_at),
    }
