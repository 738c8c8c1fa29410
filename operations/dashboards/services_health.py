"""Services Health: each service by its own metrics and by the gateway's."""

from __future__ import annotations

from operations.dashboards.model import Board, Kind, Panel, Query, Section, limit

REQUEST_COUNT = 'http_server_request_duration_seconds_count{job="service", workload=~"$workload"}'
BUCKET = 'http_server_request_duration_seconds_bucket{job="service", workload=~"$workload"}'
RATE = "[$__rate_interval]"
SELECTED_WORKLOADS = '{workload=~"$workload"}'
BURN_LIMITS = (limit("vector(14.4)", "limit of the fast alert (1 h)"), limit("vector(1)", "budget lasts 30 days"))


def _burn_rate(window: str) -> Query:
    """Return the query for the burn rate of the error budget; 1 is the allowed rate."""
    ratio = f"service:sli_errors:ratio_rate{window}{SELECTED_WORKLOADS}"
    return Query(f"{ratio} / (1 - scalar(pti:objective:availability))", f"{{{{workload}}}} {window}")


def _quantile(share: str, metric: str, by: str) -> str:
    return f"histogram_quantile({share}, sum by ({by}, le) (rate({metric}{RATE})))"


BOARD = Board(
    uid="pti-services-health",
    title="Services Health",
    description="Latency, errors and traffic of each service, by its own metrics and by the gateway's.",
    workloads='pti:expected{job="service"}',
    sections=(
        Section(
            title="Metrics of the service",
            panels=(
                Panel(
                    id=1,
                    title="Instances up",
                    description="Instances that Prometheus can scrape; a front end that responds counts as one. "
                    "Zero means down.",
                    unit="short",
                    queries=(
                        Query('workload:up:sum{job=~"service|frontend|kong", workload=~"$workload"}', "{{workload}}"),
                    ),
                ),
                Panel(
                    id=2,
                    title="Latency",
                    description="95th percentile over 5 minutes, which the alert uses, and the median.",
                    unit="s",
                    queries=(
                        Query(f"service:http_latency:p95_5m{SELECTED_WORKLOADS}", "{{workload}} p95"),
                        Query(_quantile("0.5", BUCKET, "workload"), "{{workload}} median"),
                    ),
                    limits=(limit("pti:threshold:latency_p95_seconds"),),
                ),
                Panel(
                    id=3,
                    title="Failed requests",
                    description="Share of 5xx responses over 5 minutes, which the alert uses.",
                    unit="percentunit",
                    queries=(Query(f"service:http_errors:ratio_rate5m{SELECTED_WORKLOADS}", "{{workload}}"),),
                    limits=(limit("pti:threshold:error_ratio"),),
                ),
                Panel(
                    id=4,
                    title="Requests by status",
                    description="Requests per second by status code. Many 4xx responses point to a faulty client or "
                    "token.",
                    unit="reqps",
                    queries=(
                        Query(
                            f"sum by (workload, http_response_status_code) (rate({REQUEST_COUNT}{RATE}))",
                            "{{workload}} {{http_response_status_code}}",
                        ),
                    ),
                ),
                Panel(
                    id=5,
                    title="Requests in flight",
                    description="Requests being processed. A rising line at a steady request rate means that "
                    "requests queue up.",
                    unit="short",
                    queries=(
                        Query(f"sum by (workload) (http_server_active_requests{SELECTED_WORKLOADS})", "{{workload}}"),
                    ),
                ),
                Panel(
                    id=6,
                    title="Slowest routes",
                    description="The ten routes with the highest 95th percentile.",
                    unit="s",
                    queries=(
                        Query(
                            f"topk(10, {_quantile('0.95', BUCKET, 'workload, http_request_method, http_route')})",
                            "{{workload}} {{http_request_method}} {{http_route}}",
                        ),
                    ),
                ),
                Panel(
                    id=7,
                    title="Error budget burn rate",
                    description="At a rate of 1, the budget lasts exactly 30 days. Each alert uses two windows: "
                    "1 h and 5 min above 14.4, 6 h and 30 min above 6, 3 d and 6 h above 1.",
                    unit="short",
                    width=16,
                    queries=(_burn_rate("1h"), _burn_rate("6h"), _burn_rate("3d")),
                    limits=BURN_LIMITS,
                ),
                Panel(
                    id=8,
                    title="Waiting events",
                    description="Committed events that Kafka hasn't confirmed. They are kept in the service's "
                    "database.",
                    unit="short",
                    queries=(Query(f"max by (workload) (pti_outbox_events{SELECTED_WORKLOADS})", "{{workload}}"),),
                ),
                Panel(
                    id=15,
                    title="Unavailable dependencies",
                    description="Number of replicas that can't reach a dependency. Without postgres they aren't ready; "
                    "without redis or kafka they are degraded.",
                    unit="short",
                    queries=(
                        Query(
                            "count by (workload, dependency) (pti_dependency_up) "
                            f"- sum by (workload, dependency) (pti_dependency_up{SELECTED_WORKLOADS})",
                            "{{workload}} {{dependency}}",
                        ),
                    ),
                ),
            ),
        ),
        Section(
            title="Metrics of the gateway",
            panels=(
                Panel(
                    id=9,
                    title="Failed requests at the gateway",
                    description="Share of 5xx responses, including the gateway's own responses if no "
                    "instance responds.",
                    unit="percentunit",
                    queries=(Query(f"gateway:http_errors:ratio_rate5m{SELECTED_WORKLOADS}", "{{workload}}"),),
                    limits=(limit("pti:threshold:error_ratio"),),
                ),
                Panel(
                    id=10,
                    title="Requests by status at the gateway",
                    description="401 points to a token, 429 to the rate limit, and 502, 503 and 504 to the service.",
                    unit="reqps",
                    queries=(
                        Query(
                            f'sum by (service, code) (rate(kong_http_requests_total{{service=~"$workload"}}{RATE}))',
                            "{{service}} {{code}}",
                        ),
                    ),
                ),
                Panel(
                    id=11,
                    title="Latency at the gateway and in the service",
                    description="95th percentiles of the whole request and of the service's part; the rest is "
                    "spent in the gateway. Kong's histogram has no buckets between 400 and 700 ms.",
                    unit="ms",
                    queries=(
                        Query(
                            _quantile("0.95", 'kong_request_latency_ms_bucket{service=~"$workload"}', "service"),
                            "{{service}} total",
                        ),
                        Query(
                            _quantile("0.95", 'kong_upstream_latency_ms_bucket{service=~"$workload"}', "service"),
                            "{{service}} only",
                        ),
                    ),
                ),
                Panel(
                    id=12,
                    title="Bandwidth",
                    description="Bytes per second through the gateway, in and out.",
                    unit="Bps",
                    queries=(
                        Query(
                            f'sum by (service, direction) (rate(kong_bandwidth_bytes{{service=~"$workload"}}{RATE}))',
                            "{{service}} {{direction}}",
                        ),
                    ),
                ),
                Panel(
                    id=13,
                    title="Connections",
                    description="Client connections of Kong's workers, by state.",
                    unit="short",
                    queries=(
                        Query(
                            'sum by (state) (kong_nginx_connections_total{state=~"active|reading|writing|waiting"})',
                            "{{state}}",
                        ),
                    ),
                ),
                Panel(
                    id=14,
                    title="Front ends up",
                    description="1 if an instance of the front end answers GET /health with 200, 0 if none does.",
                    unit="short",
                    kind=Kind.NUMBER,
                    red_below=1,
                    queries=(Query('workload:up:sum{job="frontend"}', "{{workload}}"),),
                ),
            ),
        ),
    ),
)
