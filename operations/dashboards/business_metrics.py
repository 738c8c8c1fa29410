"""Business Metrics: appointments and payments."""

from __future__ import annotations

from operations.dashboards.model import Board, Kind, Panel, Query, Section

PERIOD = "[$__range]"
RATE = "[$__rate_interval]"


def _per_hour(counter: str) -> str:
    return f"3600 * sum(rate({counter}{RATE}))"


def _total(
    number: int, title: str, description: str, counter: str, legend: str, unit: str = "locale", decimals: int = 0
) -> Panel:
    """How much a counter grew in the period, as one number. The unit `short` would write 1 K for 1234."""
    return Panel(
        id=number,
        title=title,
        description=description,
        unit=unit,
        kind=Kind.NUMBER,
        decimals=decimals,
        queries=(Query(f"sum(increase({counter}{PERIOD}))", legend),),
    )


CREATED, CANCELLED, HONOURED = (f"pti_appointments_{what}_total" for what in ("created", "cancelled", "honoured"))
SUCCEEDED, FAILED, EUROS = (f"pti_payments_{what}_total" for what in ("succeeded", "failed", "amount_euros"))

BOARD = Board(
    uid="pti-business-metrics",
    title="Business Metrics",
    description="Appointments and payments of the whole platform. Numbers are of the period chosen above, and "
    "estimates by a few: Prometheus samples. The books are in the databases.",
    default_start="now-24h",
    sections=(
        Section(
            title="Appointments",
            panels=(
                _total(1, "Booked", "Appointments created in the period.", CREATED, "booked"),
                _total(2, "Cancelled", "Appointments cancelled in the period.", CANCELLED, "cancelled"),
                _total(3, "Honoured", "Appointments that took place in the period.", HONOURED, "honoured"),
                Panel(
                    id=4,
                    title="Appointments per hour",
                    description="Nothing booked in opening hours, and all services up: only this panel shows it.",
                    unit="short",
                    width=16,
                    queries=(
                        Query(_per_hour(CREATED), "booked"),
                        Query(_per_hour(CANCELLED), "cancelled"),
                        Query(_per_hour(HONOURED), "honoured"),
                    ),
                ),
                Panel(
                    id=5,
                    title="Cancelled per booked",
                    description="Cancellations in proportion to bookings.",
                    unit="percentunit",
                    queries=(
                        Query(
                            f"sum(rate({CANCELLED}{RATE})) / (sum(rate({CREATED}{RATE})) > 0)",
                            "cancelled per booked",
                        ),
                    ),
                ),
            ),
        ),
        Section(
            title="Payments",
            panels=(
                _total(
                    6,
                    "Paid",
                    "Sum of the payments that succeeded in the period.",
                    EUROS,
                    "paid",
                    unit="currencyEUR",
                    decimals=2,
                ),
                _total(7, "Payments that succeeded", "Payments that succeeded in the period.", SUCCEEDED, "succeeded"),
                _total(
                    8,
                    "Payments that failed",
                    "Payments that failed in the period: refused cards, or the provider.",
                    FAILED,
                    "failed",
                ),
                Panel(
                    id=9,
                    title="Euros per hour",
                    description="Amount of the payments that succeeded, per hour.",
                    unit="currencyEUR",
                    queries=(Query(_per_hour(EUROS), "euros per hour"),),
                ),
                Panel(
                    id=10,
                    title="Payments per hour",
                    description="Payments per hour by their end.",
                    unit="short",
                    queries=(Query(_per_hour(SUCCEEDED), "succeeded"), Query(_per_hour(FAILED), "failed")),
                ),
                Panel(
                    id=11,
                    title="Share of payments that fail",
                    description="A few per cent are refused cards; a jump is the provider, or our call of it.",
                    unit="percentunit",
                    queries=(
                        Query(
                            f"sum(rate({FAILED}{RATE}))"
                            f" / (sum(rate({SUCCEEDED}{RATE})) + sum(rate({FAILED}{RATE})) > 0)",
                            "failed",
                        ),
                    ),
                ),
            ),
        ),
    ),
)
