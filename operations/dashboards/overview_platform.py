"""Overview Platform: current problems, and where to look."""

from __future__ import annotations

from operations.dashboards.model import Board, Kind, Panel, Query, Section, limit

SERVICE_LINK = "/d/pti-services-health?var-workload=${__field.labels.workload}&${__url_time_range}"

BOARD = Board(
    uid="pti-overview-platform",
    title="Overview Platform",
    description="Current problems, and where to look next. Start here.",
    sections=(
        Section(
            title="Now",
            panels=(
                Panel(
                    id=1,
                    title="Workloads down or missing",
                    description="Workloads of the stack without a target that is up. Zero is normal.",
                    unit="short",
                    kind=Kind.NUMBER,
                    width=6,
                    red_from=1,
                    queries=(
                        Query(
                            "count(pti:expected unless on (job, workload) (workload:up:max == 1)) or vector(0)",
                            "workloads",
                        ),
                    ),
                ),
                Panel(
                    id=2,
                    title="Alerts firing",
                    description="Currently firing alerts, without the Watchdog. Zero is normal.",
                    unit="short",
                    kind=Kind.NUMBER,
                    width=6,
                    red_from=1,
                    queries=(
                        Query(
                            'count(ALERTS{alertstate="firing", alertname!="Watchdog"}) or vector(0)',
                            "alerts",
                        ),
                    ),
                ),
                Panel(
                    id=3,
                    title="Error budget left, worst service",
                    description="Share of the allowed errors that is left, at the error rate of the last three days. "
                    "Below zero, the service misses its objective.",
                    unit="percentunit",
                    kind=Kind.NUMBER,
                    width=6,
                    red_below=0,
                    queries=(
                        Query(
                            "1 - max(service:sli_errors:ratio_rate3d) / (1 - scalar(pti:objective:availability))",
                            "left",
                        ),
                    ),
                ),
                Panel(
                    id=5,
                    title="Fullest disk",
                    description="Used share of the fullest disk or PVC.",
                    unit="percentunit",
                    kind=Kind.NUMBER,
                    width=6,
                    queries=(Query("max(volume:disk_used:ratio)", "used"),),
                ),
            ),
        ),
        Section(
            title="Over time",
            panels=(
                Panel(
                    id=4,
                    title="Workloads up",
                    description="One bar per workload: red while none of its targets is up, "
                    "with a gap while it has no target.",
                    unit="short",
                    kind=Kind.TIMELINE,
                    width=24,
                    queries=(Query("workload:up:max", "{{workload}} ({{job}})"),),
                ),
                Panel(
                    id=6,
                    title="Requests",
                    description="Requests per second to each service, measured at the gateway if possible.",
                    unit="reqps",
                    link=SERVICE_LINK,
                    queries=(Query("service:sli_requests:rate5m", "{{workload}}"),),
                ),
                Panel(
                    id=7,
                    title="Failed requests",
                    description="Share of requests with a 5xx response. An alert fires after 5 minutes above the "
                    "limit.",
                    unit="percentunit",
                    link=SERVICE_LINK,
                    queries=(Query("service:sli_errors:ratio_rate5m", "{{workload}}"),),
                    limits=(limit("pti:threshold:error_ratio"),),
                ),
                Panel(
                    id=8,
                    title="Latency, 95th percentile",
                    description="95 % of the requests are faster. An alert fires after 5 minutes above the limit.",
                    unit="s",
                    link=SERVICE_LINK,
                    queries=(Query("service:http_latency:p95_5m", "{{workload}}"),),
                    limits=(limit("pti:threshold:latency_p95_seconds"),),
                ),
            ),
        ),
    ),
)
