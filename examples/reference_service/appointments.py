"""Appointments: rows of one tenant, a cached list, an event for each change."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from fastapi import APIRouter, HTTPException, Response
from prometheus_client import Counter
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter

from . import metrics
from .dependencies import CurrentResources, Tenant

COLUMNS = "id, tenant_id, starts_at, title, status, created_at"
LIST = f"SELECT {COLUMNS} FROM appointments ORDER BY starts_at, id LIMIT 500"  # noqa: S608 (a constant)
ONE = f"SELECT {COLUMNS} FROM appointments WHERE id = %s"  # noqa: S608
INSERT_APPOINTMENT = f"INSERT INTO appointments (tenant_id, title, starts_at) VALUES (%s, %s, %s) RETURNING {COLUMNS}"  # noqa: S608
CHANGE_STATUS = f"UPDATE appointments SET status = %s WHERE id = %s AND status = 'booked' RETURNING {COLUMNS}"  # noqa: S608

FINAL_STATUSES = {"cancelled": metrics.appointments_cancelled, "honoured": metrics.appointments_honoured}


class NewAppointment(BaseModel):
    """The fields of a new appointment that a client sets. The tenant comes from the token."""

    title: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")
    starts_at: AwareDatetime


class Appointment(BaseModel):
    """An appointment as stored and returned."""

    id: UUID
    tenant_id: UUID
    starts_at: datetime
    title: str
    status: Literal["booked", "cancelled", "honoured"]
    created_at: datetime


_LIST = TypeAdapter(list[Appointment])


async def book(new: NewAppointment, tenant: Tenant, resources: CurrentResources) -> Appointment:
    """Create an appointment."""
    async with resources.database.transaction(tenant) as connection:
        cursor = await connection.execute(INSERT_APPOINTMENT.encode(), (tenant, new.title, new.starts_at))
        appointment = Appointment.model_validate(await cursor.fetchone())
        await resources.outbox.add(connection, "appointment.created", tenant, appointment_id=appointment.id)
    await _committed(tenant, resources, metrics.appointments_created)
    return appointment


async def show_all(tenant: Tenant, resources: CurrentResources) -> Response:
    """Return the tenant's first 500 appointments by time; `X-Cache` shows whether they come from the cache."""
    lookup = await resources.cache.appointments(tenant)
    body = lookup.body
    if body is None:
        rows = await resources.database.read(tenant, LIST)
        body = _LIST.dump_json(_LIST.validate_python(rows)).decode()
        await resources.cache.keep(tenant, lookup, body)
    headers = {"X-Cache": "miss" if lookup.body is None else "hit"}
    return Response(body, media_type="application/json", headers=headers)


async def show(identifier: UUID, tenant: Tenant, resources: CurrentResources) -> Appointment:
    """Return one of the tenant's appointments; 404 for another tenant's."""
    rows = await resources.database.read(tenant, ONE, [identifier])
    if not rows:
        raise HTTPException(404, "no such appointment")
    return Appointment.model_validate(rows[0])


async def cancel(identifier: UUID, tenant: Tenant, resources: CurrentResources) -> Appointment:
    """Cancel an appointment."""
    return await _settle(identifier, "cancelled", tenant, resources)


async def honour(identifier: UUID, tenant: Tenant, resources: CurrentResources) -> Appointment:
    """Mark an appointment as honoured."""
    return await _settle(identifier, "honoured", tenant, resources)


async def _settle(identifier: UUID, status: str, tenant: Tenant, resources: CurrentResources) -> Appointment:
    async with resources.database.transaction(tenant) as connection:
        cursor = await connection.execute(CHANGE_STATUS.encode(), (status, identifier))
        row = await cursor.fetchone()
        if row is not None:
            await resources.outbox.add(connection, f"appointment.{status}", tenant, appointment_id=identifier)
    if row is None:
        found = await show(identifier, tenant, resources)
        raise HTTPException(409, f"the appointment is already {found.status}")
    await _committed(tenant, resources, FINAL_STATUSES[status])
    return Appointment.model_validate(row)


async def _committed(tenant: UUID, resources: CurrentResources, counted: Counter) -> None:
    resources.outbox.added.set()
    counted.inc()
    await resources.cache.invalidate(tenant)


routes = APIRouter(prefix="/appointments")
routes.add_api_route("", book, methods=["POST"], status_code=201)
routes.add_api_route("", show_all, methods=["GET"])
routes.add_api_route("/{identifier}", show, methods=["GET"])
routes.add_api_route("/{identifier}/cancel", cancel, methods=["POST"])
routes.add_api_route("/{identifier}/honour", honour, methods=["POST"])
