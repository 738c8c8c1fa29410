"""An appointment's attachment: one file, kept in the database in parts and never whole in memory.

A request holds a database connection for one part at a time, not for as long as the client sends or reads. The gateway
limits the size (`gateway.maxBodyMib`).
"""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from .appointments import show
from .dependencies import CurrentResources, Resources, Tenant

PART_BYTES = 512 * 1024

ADD_PART = (
    b"INSERT INTO attachment_parts (tenant_id, appointment_id, attachment_id, position, content)"
    b" VALUES (%s, %s, %s, %s, %b)"
)
LOCK = b"SELECT FROM appointments WHERE id = %s FOR UPDATE"
STORED = (
    b"SELECT coalesce(sum(octet_length(content)), 0) AS bytes"
    b" FROM attachment_parts WHERE appointment_id = %s AND attachment_id = %s"
)
COMPLETE = b"UPDATE appointments SET attachment_id = %s, attachment_bytes = %s WHERE id = %s"
DROP_OTHERS = b"DELETE FROM attachment_parts WHERE appointment_id = %s AND attachment_id <> %s"
DROP = b"DELETE FROM attachment_parts WHERE appointment_id = %s AND attachment_id = %s"
FIND = "SELECT attachment_id, attachment_bytes FROM appointments WHERE id = %s AND attachment_id IS NOT NULL"
PART_TIMEOUT_S = 10
"""Seconds that each part waits for a connection. It is long because a failure in the middle wastes the whole
transfer."""

PART = b"SELECT content FROM attachment_parts WHERE appointment_id = %s AND attachment_id = %s AND position = %s"


async def attach(identifier: UUID, request: Request, tenant: Tenant, resources: CurrentResources) -> Response:
    """Store the body as the attachment. An earlier one stays visible until the new one is complete."""
    await show(identifier, tenant, resources)
    attachment = uuid4()
    try:
        size = 0
        position = 0
        async for part in _parts(request.stream()):
            async with resources.database.transaction(tenant, PART_TIMEOUT_S) as connection:
                await connection.execute(ADD_PART, (tenant, identifier, attachment, position, part))
            size += len(part)
            position += 1
        await _complete(resources, tenant, identifier, attachment, size)
    except Exception:
        # The client disconnected, or another upload completed first.
        async with resources.database.transaction(tenant, PART_TIMEOUT_S) as connection:
            await connection.execute(DROP, (identifier, attachment))
        raise
    return Response(status_code=204)


async def download(identifier: UUID, tenant: Tenant, resources: CurrentResources) -> Response:
    """Return the attachment, with headers that stop browsers from rendering it."""
    rows = await resources.database.read(tenant, FIND, [identifier])
    if not rows:
        raise HTTPException(404, "no such attachment")
    size = rows[0]["attachment_bytes"]
    headers = {"Content-Length": str(size), "Content-Disposition": "attachment"}
    content = _content(resources, tenant, identifier, rows[0]["attachment_id"], size)
    return StreamingResponse(content, media_type="application/octet-stream", headers=headers)


async def _parts(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join the chunks of a body into parts of `PART_BYTES`; only the last one is shorter."""
    gathered = bytearray()
    async for received in body:
        gathered += received
        while len(gathered) >= PART_BYTES:
            yield bytes(gathered[:PART_BYTES])
            del gathered[:PART_BYTES]
    if gathered:
        yield bytes(gathered)


async def _complete(resources: Resources, tenant: UUID, identifier: UUID, attachment: UUID, size: int) -> None:
    """Set the appointment's attachment, and delete the parts of every other one.

    Raises:
        HTTPException: another upload completed first and dropped these parts.
    """
    async with resources.database.transaction(tenant, PART_TIMEOUT_S) as connection:
        await connection.execute(LOCK, [identifier])
        stored = await (await connection.execute(STORED, [identifier, attachment])).fetchone()
        if stored is None or stored["bytes"] != size:
            raise HTTPException(409, "another attachment arrived meanwhile")
        await connection.execute(COMPLETE, (attachment, size, identifier))
        await connection.execute(DROP_OTHERS, (identifier, attachment))


async def _content(
    resources: Resources, tenant: UUID, identifier: UUID, attachment: UUID, size: int
) -> AsyncIterator[bytes]:
    """Read one part after the other. If the attachment is replaced meanwhile, the response ends early and the client
    sees it."""
    for position in range(-(-size // PART_BYTES)):
        async with (
            resources.database.transaction(tenant, PART_TIMEOUT_S) as connection,
            connection.cursor(binary=True) as cursor,
        ):
            await cursor.execute(PART, (identifier, attachment, position))
            row = await cursor.fetchone()
        if row is None:
            raise RuntimeError("the attachment was replaced while it was read")
        yield row["content"]


routes = APIRouter(prefix="/appointments/{identifier}/attachment")
routes.add_api_route("", attach, methods=["PUT"], status_code=204)
routes.add_api_route("", download, methods=["GET"])
