"""The application: routes and error responses."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from . import appointments, attachments, others
from .dependencies import Resources
from .logs import log
from .observe import Application, Observe, Traffic
from .settings import Settings
from .tokens import Refused

Handler = Callable[[Request, Exception], Awaitable[JSONResponse]]


def create(settings: Settings, traffic: Traffic) -> Application:
    """Return the service as an ASGI application."""
    resources = Resources.of(settings)

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        await resources.open()
        log.info("started", extra={"fields": {"version": settings.version, "port": settings.port}})
        yield
        await resources.close()
        log.info("stopped")

    handlers: dict[Any, Handler] = {
        Refused: refused,
        psycopg.OperationalError: unavailable("database"),
        psycopg.InterfaceError: unavailable("database"),
        # A standby, or the former primary after a failover.
        psycopg.errors.ReadOnlySqlTransaction: unavailable("database"),
        ClientDisconnect: gone,
        Exception: unexpected,
    }
    api = FastAPI(
        title=settings.service,
        version=settings.version,
        lifespan=lifespan,
        exception_handlers=handlers,
        # The API description is for authors of clients; a running service doesn't serve it.
        openapi_url=None,
    )
    api.state.resources = resources
    api.include_router(appointments.routes)
    api.include_router(attachments.routes)
    api.include_router(others.routes)
    if settings.fault_injection:
        api.include_router(others.faults)
    return Observe(api, traffic)


async def refused(_: Request, error: Exception) -> JSONResponse:
    """Return 401 or 403."""
    assert isinstance(error, Refused)  # noqa: S101 (that is what it is registered for)
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    return JSONResponse({"detail": error.reason}, error.status, headers)


def unavailable(dependency: str) -> Handler:
    """Return 503 without a stack trace; the client may retry."""

    async def answer(_: Request, error: Exception) -> JSONResponse:
        log.error("%s unavailable: %s", dependency, type(error).__name__)
        content = {"detail": "a dependency is unavailable", "dependency": dependency}
        return JSONResponse(content, 503, {"Retry-After": "1"})

    return answer


async def gone(_: Request, __: Exception) -> JSONResponse:
    """Return 400, which the client never receives: it disconnected before it had sent the whole body."""
    return JSONResponse({"detail": "the body ended early"}, 400)


async def unexpected(_: Request, __: Exception) -> JSONResponse:
    """Return 500; the error itself is only logged."""
    return JSONResponse({"detail": "internal error"}, 500)
