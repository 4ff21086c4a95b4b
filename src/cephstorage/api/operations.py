"""Endpoints for whoever runs the service: tokens, health, metrics."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from cephstorage.api.bodies import BoundedRoute
from cephstorage.api.context import Administrator, Caller, Services
from cephstorage.api.models import CreateToken, Json, token_json
from cephstorage.domain.access import Action, Role

router = APIRouter(tags=["operations"], route_class=BoundedRoute)


@router.post("/tokens", status_code=201)
async def create_token(body: CreateToken, _: Administrator, parts: Services) -> Json:
    """Make an access token; its secret is shown this once."""
    token, secret = await parts.access.create(Role(body.role), body.username, body.label, body.expires_in)
    return {**token_json(token), "token": secret}


@router.get("/tokens")
async def list_tokens(_: Administrator, parts: Services) -> Json:
    """All access tokens, without secrets."""
    return {"tokens": [token_json(token) for token in await parts.access.all()]}


@router.delete("/tokens/{token_id}")
async def revoke_token(token_id: str, _: Administrator, parts: Services) -> Json:
    """End an access token at once."""
    await parts.access.revoke(token_id)
    return {"msg": "token_revoked"}


@router.get("/healthz")
async def health() -> Json:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "Not ready", "content": {"application/json": {}}}})
async def readiness(parts: Services) -> JSONResponse:
    """Database and store answer."""
    ready, checks = await parts.monitoring.readiness()
    shown = {"status": "ready" if ready else "not_ready", "checks": checks}
    return JSONResponse(shown, status_code=200 if ready else 503)


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(principal: Caller, parts: Services) -> Response:
    """Counters of this process for Prometheus; any token that is not bound to a tenant may read them."""
    principal.require(Action.READ)
    return Response(parts.monitoring.exposition(), media_type="text/plain; version=0.0.4")
