"""Infrastructure: disks, stores, nginx, backups, and the monitoring stack."""

from __future__ import annotations

from operations.dashboards.model import Board, Kind, Panel, Query, Section, limit

RATE = "[$__rate_interval]"
DISKS = Section(
    title="Disks",
    panels=(
        Panel(
            id=1,
            title="Disk used",
            description="Share of each disk of an engine's machine, or of each claim, that is used.",
            unit="percentunit",
            width=24,
            queries=(Query("volume:disk_used:ratio", "{{volume}} {{instance}}{{namespace}}"),),
            limits=(
                limit("pti:threshold:disk_used_ratio", "warning"),
                limit("(1 + pti:threshold:disk_used_ratio) / 2", "critical"),
            ),
        ),
    ),
)
POSTGRES = Section(
    title="PostgreSQL",
    panels=(
        Panel(
            id=2,
            title="PostgreSQL answers",
            description="Whether the exporter is let in.",
            unit="short",
            kind=Kind.TIMELINE,
            queries=(Query("max by (workload) (pg_up)", "{{workload}}"),),
        ),
        Panel(
            id=3,
            title="Connections",
            description="Connections taken by each database, and what the server accepts. It alerts at 80 %.",
            unit="short",
            queries=(Query("sum by (datname) (pg_stat_activity_count)", "{{datname}}"),),
            limits=(limit("0.8 * max(pg_settings_max_connections)", "alerts above, all together"),),
        ),
        Panel(
            id=4,
            title="Size of the databases",
            description="Bytes on disk.",
            unit="bytes",
            queries=(Query('max by (datname) (pg_database_size_bytes{datname=~"pti_.+"})', "{{datname}}"),),
        ),
        Panel(
            id=5,
            title="Transactions",
            description="Committed per second by database, and rolled back. Many of these: a service fails.",
            unit="ops",
            width=24,
            queries=(
                Query(
                    f'sum by (datname) (rate(pg_stat_database_xact_commit{{datname=~"pti_.+"}}{RATE}))', "{{datname}}"
                ),
                Query(f'sum(rate(pg_stat_database_xact_rollback{{datname=~"pti_.+"}}{RATE}))', "rolled back, all"),
            ),
        ),
    ),
)
REDIS = Section(
    title="Redis",
    panels=(
        Panel(
            id=6,
            title="Redis answers",
            description="Whether the exporter reaches it.",
            unit="short",
            kind=Kind.TIMELINE,
            queries=(Query("max by (workload) (redis_up)", "{{workload}}"),),
        ),
        Panel(
            id=7,
            title="Memory",
            description="Memory used, and the maximum where one is set. It alerts at 90 %.",
            unit="bytes",
            queries=(Query("redis_memory_used_bytes", "{{workload}}"),),
            limits=(limit("redis_memory_max_bytes > 0", "maximum"),),
        ),
        Panel(
            id=8,
            title="Hits",
            description="Share of the reads that found their key. A drop after a deployment: keys changed.",
            unit="percentunit",
            queries=(
                Query(
                    f"sum by (workload) (rate(redis_keyspace_hits_total{RATE}))"
                    f" / (sum by (workload) (rate(redis_keyspace_hits_total{RATE}))"
                    f" + sum by (workload) (rate(redis_keyspace_misses_total{RATE})) > 0)",
                    "{{workload}}",
                ),
            ),
        ),
        Panel(
            id=9,
            title="Clients",
            description="Connected clients.",
            unit="short",
            width=24,
            queries=(Query("redis_connected_clients", "{{workload}}"),),
        ),
    ),
)
KAFKA = Section(
    title="Kafka",
    panels=(
        Panel(
            id=10,
            title="Brokers",
            description="Brokers the exporter knows. Zero means down.",
            unit="short",
            queries=(Query("max by (workload) (kafka_brokers)", "{{workload}}"),),
        ),
        Panel(
            id=11,
            title="Consumer lag",
            description="Messages each consumer group has yet to read. It alerts above 1000 that don't shrink.",
            unit="short",
            queries=(Query("consumergroup:kafka_lag:sum", "{{consumergroup}} {{topic}}"),),
            limits=(limit("vector(1000)"),),
        ),
        Panel(
            id=12,
            title="Partitions without all copies",
            description="Partitions with fewer copies in sync than they should have. Zero is right.",
            unit="short",
            queries=(Query("sum by (topic) (kafka_topic_partition_under_replicated_partition)", "{{topic}}"),),
        ),
        Panel(
            id=13,
            title="Messages",
            description="Messages per second written to each topic.",
            unit="ops",
            width=24,
            queries=(Query(f"sum by (topic) (rate(kafka_topic_partition_current_offset{RATE}))", "{{topic}}"),),
        ),
    ),
)
NGINX = Section(
    title="Entrance and safety net",
    panels=(
        Panel(
            id=14,
            title="nginx answers",
            description="Whether the exporter reaches it.",
            unit="short",
            kind=Kind.TIMELINE,
            queries=(Query("max by (workload) (nginx_up)", "{{workload}}"),),
        ),
        Panel(
            id=15,
            title="Requests at nginx",
            description="Requests per second at nginx, front ends included.",
            unit="reqps",
            queries=(Query(f"sum by (workload) (rate(nginx_http_requests_total{RATE}))", "{{workload}}"),),
        ),
        Panel(
            id=19,
            title="Connections at nginx",
            description="Client connections that are open.",
            unit="short",
            queries=(Query("sum by (workload) (nginx_connections_active)", "{{workload}}"),),
        ),
        Panel(
            id=16,
            title="Certificate valid for",
            description="Time until the certificate expires that nginx shows; of several, the first that ends.",
            unit="s",
            queries=(Query("certificate:time_left:seconds", "{{workload}}"),),
            limits=(limit("pti:threshold:certificate_expiry_seconds"),),
        ),
        Panel(
            id=17,
            title="Age of the backups",
            description="Time since each database's last good backup.",
            unit="s",
            width=16,
            queries=(Query("database:backup_age:seconds", "{{database}}"),),
            limits=(limit("pti:threshold:backup_age_seconds"),),
        ),
    ),
)
MONITORING = Section(
    title="Monitoring",
    panels=(
        Panel(
            id=18,
            title="Failures of the monitoring",
            description="Per second: rules that could not be evaluated, alerts Prometheus could not hand over, "
            "messages Alertmanager could not deliver. Zero is right.",
            unit="ops",
            width=16,
            queries=(
                Query(f"sum(rate(prometheus_rule_evaluation_failures_total{RATE}))", "rules"),
                Query(f"sum(rate(prometheus_notifications_errors_total{RATE}))", "hand-over"),
                Query(f"sum by (integration) (rate(alertmanager_notifications_failed_total{RATE}))", "{{integration}}"),
            ),
        ),
        Panel(
            id=20,
            title="Series",
            description="Series in Prometheus' memory. A steep rise: a label has too many values.",
            unit="short",
            queries=(Query("sum by (workload) (prometheus_tsdb_head_series)", "{{workload}}"),),
        ),
    ),
)

BOARD = Board(
    uid="pti-infrastructure",
    title="Infrastructure",
    description="Disks, PostgreSQL, Redis, Kafka, nginx, backups, and the monitoring stack.",
    sections=(DISKS, POSTGRES, REDIS, KAFKA, NGINX, MONITORING),
)
