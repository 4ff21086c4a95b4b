"""Endpoints of the configuration: what is in force, changes without a restart, the signing key."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, create_model

from cephstorage.api.bodies import BoundedRoute
from cephstorage.api.context import Administrator, Services
from cephstorage.api.models import Json, Text
from cephstorage.domain.configuration import OPTIONS, Option
from cephstorage.services.configuration import Shown

router = APIRouter(tags=["configuration"], route_class=BoundedRoute)


def _field(option: Option) -> Any:
    secrecy: Any = {"writeOnly": True, "format": "password"} if option.secret else None
    described = Field(
        None, description=f"{option.meaning}; null: its default", examples=[option.example], json_schema_extra=secrecy
    )
    return (Text | None, described)


_fields: dict[str, Any] = {name: _field(option) for name, option in OPTIONS.items()}
ChangeConfig: type[BaseModel] = create_model(
    "ChangeConfig",
    __doc__="Options to be changed; what is not named stays as it is.",
    __config__=ConfigDict(extra="forbid"),
    **_fields,
)
_EXAMPLE: Json = {
    "store": "ceph",
    "public_address": "https://files.example.org",
    "settings": {
        "public_address": {
            "value": "https://files.example.org",
            "set": True,
            "source": "environment",
            "fixed": True,
            "secret": False,
            "variable": "CEPHSTORAGE_PUBLIC_ADDRESS",
            "meaning": "Base of published URLs; default http://HOST:PORT",
        },
        "ceph_secret_key": {
            "value": None,
            "set": True,
            "source": "database",
            "fixed": False,
            "secret": True,
            "variable": "CEPHSTORAGE_CEPH_SECRET_KEY",
            "meaning": "Secret key of the RGW user",
        },
    },
}
_STATE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The settings in force", "content": {"application/json": {"example": _EXAMPLE}}}
}
_CHANGES: dict[str, Any] = {
    "requestBody": {
        "content": {
            "application/json": {
                "examples": {
                    "gateway": {"value": {name: OPTIONS[name].example for name in OPTIONS if name.startswith("ceph_")}},
                    "default": {"value": {"public_address": None}},
                }
            }
        }
    }
}


@router.get("/config", responses=_STATE)
async def get_config(_: Administrator, parts: Services) -> Json:
    """The settings in force, without secrets. ``settings`` are those that PUT changes, and where each comes from."""
    return _state(parts)


@router.put("/config", responses=_STATE, openapi_extra=_CHANGES)
async def change_config(
    body: ChangeConfig,  # type: ignore[valid-type] # made from the options
    _: Administrator,
    parts: Services,
    probe: Annotated[bool, Query(description="false: store it although the gateway may not answer now")] = True,
) -> Json:
    """Change settings in every process, without a restart, all or none; the new state.

    A new gateway or new credentials are tried out first: what does not work is refused. What the environment
    fixes can't be changed here. ``checked`` says what the trial saw.
    """
    wishes = {name: getattr(body, name) for name in body.model_fields_set}  # type: ignore[attr-defined]
    checked = await parts.configuration.change(wishes, probe=probe)
    return {**_state(parts), "checked": checked}


@router.post("/config/signing-key/rotate")
async def rotate_signing_key(_: Administrator, parts: Services) -> Json:
    """Replace the signing key: every URL that this service has signed stops working. Presigned ones of RGW don't."""
    await parts.publishing.rotate()
    return {"msg": "signing_key_rotated"}


def _state(parts: Services) -> Json:
    return {**parts.settings(), "settings": {s.option.name: _shown(s) for s in parts.configuration.shown()}}


def _shown(shown: Shown) -> Json:
    return {
        "value": shown.value,
        "set": shown.given,
        "source": shown.source.value,
        "fixed": shown.fixed,
        "secret": shown.option.secret,
        "variable": shown.option.variable,
        "meaning": shown.option.meaning,
    }
