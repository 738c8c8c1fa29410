"""Prometheus metrics. Label values come from closed lists: no tenant, no raw path."""

# mypy: disable-error-code="import-not-found"
from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

request_duration = Histogram(
    "http_server_request_duration_seconds",
    "Time from the request's arrival to the end of its response.",
    ("http_request_method", "http_response_status_code", "http_route"),
    buckets=BUCKETS_S,
)
active_requests = Gauge("http_server_active_requests", "Requests being served.")

appointments_created = Counter("pti_appointments_created_total", "Appointments booked.")
appointments_cancelled = Counter("pti_appointments_cancelled_total", "Appointments cancelled.")
appointments_honoured = Counter("pti_appointments_honoured_total", "Appointments that took place.")
payments_succeeded = Counter("pti_payments_succeeded_total", "Payments accepted.")
payments_failed = Counter("pti_payments_failed_total", "Payments refused.")
payments_amount = Counter("pti_payments_amount_euros_total", "Sum of the accepted payments, in euros.")

dependency_up = Gauge("pti_dependency_up", "Whether a dependency responds: 1 or 0.", ("dependency",))
outbox_events = Gauge("pti_outbox_events", "Committed events that Kafka has not confirmed.")
outbox_age = Gauge("pti_outbox_oldest_age_seconds", "Age of the oldest of them; 0 if there is none.")


def method_label(method: str) -> str:
    """Return the method, or `_OTHER` for an unknown one."""
    return method if method in METHODS else "_OTHER"
