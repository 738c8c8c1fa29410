"""One JSON object per line on standard output. Never a body, a token, or the text of an unexpected error."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime

correlation: ContextVar[str] = ContextVar("correlation", default="")
"""The `X-Correlation-ID` of the request being served."""

log = logging.getLogger("reference_service")


def set_up(service: str, level: str) -> None:
    """Log everything in this form; libraries from WARNING on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Json(service))
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    # Without a broker, the library logs twenty times per second; readiness logs the change once.
    logging.getLogger("aiokafka").setLevel(logging.DEBUG if level == "debug" else logging.CRITICAL)
    log.setLevel(level.upper())


class _Json(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if identifier := correlation.get():
            line["correlation_id"] = identifier
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0]:
            # The error's text isn't logged: PostgreSQL's, for example, quotes the refused row.
            line["error"] = record.exc_info[0].__name__
            frames = traceback.extract_tb(record.exc_info[2])
            line["frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-8:]]
        return json.dumps(line, default=str)
