"""Count what users notice during a failure."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.load import Load
from tests.e2e.platform import Platform
from tests.failures import FailureRecord


@contextmanager
def counted(platform: Platform, failure_record: FailureRecord, service: str | None = None) -> Iterator[Load]:
    """List a tenant's appointments through the gateway twice per second for the duration of the context, and record
    the responses, whatever they are."""
    tenant = uuid.uuid4()
    with Load.of(lambda: platform.listed(tenant, service), per_second=2, max_duration_s=900) as load:
        yield load
    failure_record.set_requests(load)
