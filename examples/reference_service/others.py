"""The other routes: simulated payments, received events, probes, and faults for tests."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

import asyncio
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, HTTPException, Query, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from . import metrics
from .dependencies import CurrentResources, Tenant
from .health import status_of


class NewPayment(BaseModel):
    """A payment, which succeeds if the amount is above 0."""

    amount_euros: float = Field(allow_inf_nan=False, le=1_000_000)


async def pay(new: NewPayment, tenant: Tenant) -> dict[str, object]:
    """Simulate a payment, without calling a third party."""
    if new.amount_euros <= 0:
        metrics.payments_failed.inc()
        raise HTTPException(402, "the payment was refused")
    metrics.payments_succeeded.inc()
    metrics.payments_amount.inc(new.amount_euros)
    return {"id": uuid4(), "status": "succeeded", "amount_euros": new.amount_euros}


async def events(tenant: Tenant, resources: CurrentResources) -> dict[str, object]:
    """Return how many of the tenant's events this service has received from Kafka."""
    by_type = await resources.received.count(tenant)
    return {"count": sum(by_type.values()), "by_type": by_type}


async def info(resources: CurrentResources) -> dict[str, str]:
    """Return public data, without a token."""
    return {"service": resources.settings.service, "version": resources.settings.version}


async def live() -> dict[str, str]:
    """Liveness: return 200 without checking dependencies."""
    return {"status": "ok"}


async def ready(resources: CurrentResources) -> JSONResponse:
    """Readiness: return 503 if the database is unavailable, otherwise 200, also while the service stops."""
    report = await resources.health.report()
    status = status_of(report)
    return JSONResponse({"status": status, "dependencies": report}, 503 if status == "unavailable" else 200)


async def exposition(resources: CurrentResources) -> Response:
    """Return the metrics, with the current state of the dependencies."""
    await resources.health.report()
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def slow(tenant: Tenant, seconds: Annotated[float, Query(ge=0, le=5)] = 1) -> dict[str, float]:
    """Respond late."""
    await asyncio.sleep(seconds)
    return {"seconds": seconds}


async def error(tenant: Tenant) -> None:
    """Fail with an unexpected error."""
    raise RuntimeError("asked for by a test")


routes = APIRouter()
routes.add_api_route("/payments", pay, methods=["POST"], status_code=201)
routes.add_api_route("/events", events, methods=["GET"])
routes.add_api_route("/public/info", info, methods=["GET"])
routes.add_api_route("/health/live", live, methods=["GET"])
routes.add_api_route("/health", ready, methods=["GET"])
routes.add_api_route("/metrics", exposition, methods=["GET"])

faults = APIRouter(prefix="/faults")
faults.add_api_route("/slow", slow, methods=["GET"])
faults.add_api_route("/error", error, methods=["GET"])
