"""Tests of the monitoring images: they need the servers of `trials.py` and `gateway_trials.py`."""

from __future__ import annotations

import json

from testbed.images.trials import MONITOR_PASSWORD, Trial

NOBODY = "65534:65534"
PROMETHEUS = {
    "global": {"scrape_interval": "1s"},
    "scrape_configs": [
        {"job_name": "exporters", "static_configs": [{"targets": ["postgres-exporter:9187", "kafka-exporter:9308"]}]}
    ],
    "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["alertmanager:9093"]}]}]},
}
SOURCES = {"datasources": [{"name": "Prometheus", "uid": "prometheus", "url": "http://prometheus:9090"}]}
PROVIDERS = {"providers": [{"name": "pti", "options": {"path": "/etc/grafana/dashboards"}}]}


CERTIFICATE = {
    "modules": {"tls": {"prober": "tcp", "tcp": {"tls": True, "tls_config": {"insecure_skip_verify": True}}}}
}


def exporter(
    name: str, image: str, port: int, expected: str, *, user: str = NOBODY, path: str = "/metrics", **given: object
) -> Trial:
    """Return an exporter, and a line of metrics that it returns for a running server."""
    ask = f"wget -q -O - http://127.0.0.1:{port}"
    return Trial(
        name=name,
        image=image,
        user=user,
        scratch=(),
        ready=f"{ask}/ >/dev/null",
        checks=((f"{ask}'{path}'", expected),),
        **given,  # type: ignore[arg-type]
    )


MONITORING_TRIALS = (
    exporter(
        "postgres-exporter",
        "prometheuscommunity/postgres-exporter:v0.19.1",
        9187,
        r"(?m)^pg_up 1$",
        environment={
            "DATA_SOURCE_URI": "postgres:5432/app?sslmode=disable",
            "DATA_SOURCE_USER": "watcher",
            "DATA_SOURCE_PASS_FILE": "/run/secrets/password",
        },
        # The exporter's driver would refuse a space ("malformed dsn").
        files={"/run/secrets/password": MONITOR_PASSWORD},
    ),
    exporter(
        "redis-exporter",
        "oliver006/redis_exporter:v1.86.0-alpine",
        9121,
        r"(?m)^redis_up 1$",
        user="59000:59000",
        environment={"REDIS_ADDR": "redis://redis:6379", "REDIS_PASSWORD_FILE": "/run/secrets/redis.json"},
        files={"/run/secrets/redis.json": json.dumps({"redis://redis:6379": "secret"})},
    ),
    exporter(
        "kafka-exporter",
        "danielqsj/kafka-exporter:v1.9.0",
        9308,
        r'(?m)^kafka_topic_partitions\{topic="words"\} 2$',
        command=("--kafka.server=kafka:9092",),
    ),
    exporter(
        "blackbox-exporter",
        "prom/blackbox-exporter:v0.28.0",
        9115,
        r"(?m)^probe_ssl_earliest_cert_expiry \d",
        path="/probe?module=tls&target=kong:8443",
        files={"/etc/blackbox_exporter/config.yml": json.dumps(CERTIFICATE)},
    ),
    exporter("node-exporter", "prom/node-exporter:v1.12.1", 9100, r"(?m)^node_memory_MemAvailable_bytes \d"),
    Trial(
        name="alertmanager",
        image="prom/alertmanager:v0.34.2",
        user=NOBODY,
        scratch=(),
        data=("/alertmanager",),
        files={"/config/alertmanager.yml": json.dumps({"route": {"receiver": "all"}, "receivers": [{"name": "all"}]})},
        command=("--config.file=/config/alertmanager.yml", "--cluster.listen-address="),
        ready="wget -q -O - http://127.0.0.1:9093/-/ready",
        checks=(("wget -q -O - http://127.0.0.1:9093/api/v2/status", '"version":"0.34.2"'),),
    ),
    Trial(
        name="prometheus",
        image="prom/prometheus:v3.14.0",
        user=NOBODY,
        scratch=(),
        data=("/prometheus",),
        files={"/config/prometheus.yml": json.dumps(PROMETHEUS)},
        command=("--config.file=/config/prometheus.yml", "--storage.tsdb.path=/prometheus"),
        ready="wget -q -O - http://127.0.0.1:9090/-/ready",
        checks=(
            ("wget -q -O - http://127.0.0.1:9090/api/v1/status/buildinfo", '"version":"3.14.0"'),
            # Prometheus has no series before its first scrape, which takes about a second.
            (
                "for try in $(seq 50); do wget -q -O - 'http://127.0.0.1:9090/api/v1/query?query=pg_up' | grep value"
                " && break; sleep 0.2; done",
                r'"value":\[[\d.]+,"1"\]',
            ),
        ),
    ),
    Trial(
        name="grafana",
        image="grafana/grafana:13.1.0",
        user="472:472",
        scratch=("/var/lib/grafana", "/tmp"),  # noqa: S108
        environment={"GF_SECURITY_ADMIN_PASSWORD__FILE": "/run/secrets/password", "GF_SERVER_HTTP_PORT": "3030"},
        files={
            "/run/secrets/password": "secret",
            "/etc/grafana/provisioning/datasources/one.yaml": json.dumps(SOURCES),
            "/etc/grafana/provisioning/dashboards/one.yaml": json.dumps(PROVIDERS),
            "/etc/grafana/dashboards/one.json": json.dumps({"uid": "one", "title": "The first"}),
        },
        ready="python -c \"from urllib.request import urlopen; urlopen('http://127.0.0.1:3030/api/health')\"",
        checks=tuple(
            (
                'python -c "import sys; from urllib.request import Request, urlopen; '
                f"print(urlopen(Request('http://127.0.0.1:3030{path}', headers={headers})).read())\"",
                expected,
            )
            for path, headers, expected in (
                ("/api/search", "{'Authorization': 'Basic YWRtaW46c2VjcmV0'}", "The first"),
                (
                    "/api/datasources/proxy/uid/prometheus/api/v1/query?query=pg_up",
                    "{'Authorization': 'Basic YWRtaW46c2VjcmV0'}",
                    "success",
                ),
                ("/api/search", "{}", "401"),
            )
        ),
    ),
)
