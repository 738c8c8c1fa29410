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
    """Return a panel with a counter's increase in the selected period. The unit `short` would show 1234 as 1 K."""
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
    description="Appointments and payments of the whole platform. Totals are for the selected period, and "
    "approximate, because Prometheus samples. The exact numbers are in the databases.",
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
                    description="If no appointments are booked in opening hours although all services are up, only "
                    "this panel shows it.",
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
                    title="Cancellations per booking",
                    description="Ratio of cancelled to booked appointments.",
                    unit="percentunit",
                    queries=(
                        Query(
                            f"sum(rate({CANCELLED}{RATE})) / (sum(rate({CREATED}{RATE})) > 0)",
                            "cancellations per booking",
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
                    "Total amount of the successful payments in the period.",
                    EUROS,
                    "paid",
                    unit="currencyEUR",
                    decimals=2,
                ),
                _total(7, "Successful payments", "Payments that succeeded in the period.", SUCCEEDED, "succeeded"),
                _total(
                    8,
                    "Failed payments",
                    "Payments that failed in the period: declined cards, or errors of the provider.",
                    FAILED,
                    "failed",
                ),
                Panel(
                    id=9,
                    title="Euros per hour",
                    description="Amount of the successful payments per hour.",
                    unit="currencyEUR",
                    queries=(Query(_per_hour(EUROS), "euros per hour"),),
                ),
                Panel(
                    id=10,
                    title="Payments per hour",
                    description="Payments per hour by result.",
                    unit="short",
                    queries=(Query(_per_hour(SUCCEEDED), "succeeded"), Query(_per_hour(FAILED), "failed")),
                ),
                Panel(
                    id=11,
                    title="Share of failed payments",
                    description="A few per cent are declined cards; a sudden increase points to the provider or the "
                    "requests to it.",
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
