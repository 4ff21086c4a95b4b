"""The API as an ASGI application: routes, errors as problem details, documents that need no internet."""

from collections.abc import Callable, Coroutine, MutableMapping
from importlib import metadata, resources
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.routing import Match

from cephstorage.api import (
    buckets,
    configuration,
    consistency,
    copies,
    deletions,
    exchange,
    following,
    jobs,
    keys,
    lifecycles,
    mirrors,
    operations,
    quotas,
    trash,
    webhooks,
)
from cephstorage.api.context import ApiServices, well_formed_query
from cephstorage.api.faults import told
from cephstorage.domain.errors import CephStorageError
from cephstorage.wire.problems import CONTENT_TYPE, problem, problem_of

_METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
_CODES = {404: "not_found", 405: "method_not_allowed"}
_PROBLEM: dict[str, Any] = {
    "description": "An error: problem details (RFC 9457)",
    "content": {
        CONTENT_TYPE: {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail", "code", "msg"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "code": {"type": "string", "description": "What happened, for programs"},
                    "msg": {"type": "string", "description": "What happened, for people"},
                },
            }
        }
    },
}
Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Coroutine[Any, Any, Message]], Callable[[Message], Coroutine[Any, Any, None]]],
    Coroutine[Any, Any, None],
]


def build_api(services: ApiServices) -> Application:
    """The API on these services."""
    app = FastAPI(
        title="CephStorage",
        version=metadata.version("cephstorage"),
        description="Key storage and permanent mirror for people who run Ceph.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(well_formed_query)],
        responses={"default": _PROBLEM},
    )
    app.state.services = services
    for router in (
        buckets.progress_router,
        deletions.router,
        copies.router,
        lifecycles.router,
        trash.router,
        exchange.router,
        following.events_router,
        following.router,
        keys.router,
        buckets.router,
        quotas.router,
        mirrors.router,
        jobs.router,
        webhooks.router,
        configuration.router,
        consistency.router,
        operations.router,
    ):
        app.include_router(router)
    _add_documents(app)
    _add_errors(app)
    return _undecoded(app)


def _undecoded(app: FastAPI) -> Application:
    """Let the router match the target as it was written, so that keys are decoded once and nowhere else."""

    async def run(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].decode("latin-1"), "root_path": ""}
        await app(scope, receive, send)

    return run


def _add_documents(app: FastAPI) -> None:
    assets = resources.files("fastapi_offline") / "static"
    app.mount("/docs/assets", StaticFiles(directory=str(assets)))

    @app.get("/docs", include_in_schema=False)
    async def documents() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="CephStorage API",
            swagger_js_url="/docs/assets/swagger-ui-bundle.js",
            swagger_css_url="/docs/assets/swagger-ui.css",
            swagger_favicon_url="/docs/assets/favicon.png",
        )


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(CephStorageError)
    async def known(_: Request, error: CephStorageError) -> Response:
        return _response(*problem_of(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return _response(*problem("invalid_request", told(error.errors()[0])))

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "invalid_request")
        said = {
            "not_found": f"There is nothing at {request.scope['path']}; see /docs.",
            "method_not_allowed": f"{request.method} is not allowed at this address; see /docs.",
        }
        status, headers, body = problem(code, said.get(code, "The body is not valid JSON."))
        if code == "method_not_allowed":
            headers.append(("allow", ", ".join(_allowed(app, request))))
        return _response(status, headers, body)

    @app.exception_handler(Exception)
    async def unknown(_: Request, __: Exception) -> Response:
        return _response(*problem("internal_error", "The service failed on this request; its log says why."))


def _allowed(app: FastAPI, request: Request) -> list[str]:
    """The methods that the target has (RFC 9110 section 15.5.6 wants them all, also of other routes)."""
    scopes = [{**request.scope, "method": method} for method in _METHODS]
    return [
        scope["method"] for scope in scopes if any(route.matches(scope)[0] is Match.FULL for route in app.router.routes)
    ]


def _response(status: int, headers: list[tuple[str, str]], body: bytes) -> Response:
    return Response(body, status_code=int(status), headers=dict(headers))
