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
            description="Used share of each disk of the Docker host, or of each PVC.",
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
            title="PostgreSQL is up",
            description="Whether the exporter can connect.",
            unit="short",
            kind=Kind.TIMELINE,
            queries=(Query("max by (workload) (pg_up)", "{{workload}}"),),
        ),
        Panel(
            id=3,
            title="Connections",
            description="Connections per database. An alert fires if all together exceed 80 % of the server's limit.",
            unit="short",
            queries=(Query("sum by (datname) (pg_stat_activity_count)", "{{datname}}"),),
            limits=(limit("0.8 * max(pg_settings_max_connections)", "alert limit for the total"),),
        ),
        Panel(
            id=4,
            title="Size of the databases",
            description="Size of each database on disk.",
            unit="bytes",
            queries=(Query('max by (datname) (pg_database_size_bytes{datname=~"pti_.+"})', "{{datname}}"),),
        ),
        Panel(
            id=5,
            title="Transactions",
            description="Transactions per second: committed ones per database, and all rolled back ones. Many "
            "rollbacks point to a failing service.",
            unit="ops",
            width=24,
            queries=(
                Query(
                    f'sum by (datname) (rate(pg_stat_database_xact_commit{{datname=~"pti_.+"}}{RATE}))', "{{datname}}"
                ),
                Query(f'sum(rate(pg_stat_database_xact_rollback{{datname=~"pti_.+"}}{RATE}))', "all rolled back"),
            ),
        ),
    ),
)
REDIS = Section(
    title="Redis",
    panels=(
        Panel(
            id=6,
            title="Redis is up",
            description="Whether the exporter can connect.",
            unit="short",
            kind=Kind.TIMELINE,
            queries=(Query("max by (workload) (redis_up)", "{{workload}}"),),
        ),
        Panel(
            id=7,
            title="Memory",
            description="Used memory, and the maximum if one is set. An alert fires at 90 %.",
            unit="bytes",
            queries=(Query("redis_memory_used_bytes", "{{workload}}"),),
            limits=(limit("redis_memory_max_bytes > 0", "maximum"),),
        ),
        Panel(
            id=8,
            title="Hits",
            description="Share of reads that found their key. A drop after a deployment means that the keys have "
            "changed.",
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
            description="Brokers that the exporter finds. Zero means down.",
            unit="short",
            queries=(Query("max by (workload) (kafka_brokers)", "{{workload}}"),),
        ),
        Panel(
            id=11,
            title="Consumer lag",
            description="Messages that each consumer group has yet to read. An alert fires if it stays above 1000 "
            "without decreasing.",
            unit="short",
            queries=(Query("consumergroup:kafka_lag:sum", "{{consumergroup}} {{topic}}"),),
            limits=(limit("vector(1000)"),),
        ),
        Panel(
            id=12,
            title="Under-replicated partitions",
            description="Partitions with too few in-sync replicas. Zero is normal.",
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
    title="Edge and backups",
    panels=(
        Panel(
            id=14,
            title="nginx is up",
            description="Whether the exporter can connect.",
            unit="short",
            kind=Kind.TIMELINE,
            queries=(Query("max by (workload) (nginx_up)", "{{workload}}"),),
        ),
        Panel(
            id=15,
            title="Requests at nginx",
            description="Requests per second at nginx, including those to front ends.",
            unit="reqps",
            queries=(Query(f"sum by (workload) (rate(nginx_http_requests_total{RATE}))", "{{workload}}"),),
        ),
        Panel(
            id=19,
            title="Connections at nginx",
            description="Open client connections.",
            unit="short",
            queries=(Query("sum by (workload) (nginx_connections_active)", "{{workload}}"),),
        ),
        Panel(
            id=16,
            title="Certificate lifetime left",
            description="Time until nginx' certificate expires; with several replicas, the earliest.",
            unit="s",
            queries=(Query("certificate:time_left:seconds", "{{workload}}"),),
            limits=(limit("pti:threshold:certificate_expiry_seconds"),),
        ),
        Panel(
            id=17,
            title="Age of the backups",
            description="Time since each database's last successful backup.",
            unit="s",
            width=16,
            queries=(Query("database:backup_age:seconds", "{{database}}"),),
            limits=(limit("pti:threshold:backup_age_seconds"),),
        ),
        Panel(
            id=21,
            title="Findings of the isolation audit",
            description="Findings of each database's last audit of row-level security. Zero is normal.",
            unit="short",
            width=8,
            queries=(Query("max by (database) (pti_isolation_audit_findings)", "{{database}}"),),
        ),
    ),
)
MONITORING = Section(
    title="Monitoring",
    panels=(
        Panel(
            id=18,
            title="Monitoring failures",
            description="Failures per second: rule evaluations, alerts sent to Alertmanager, and "
            "notifications sent by Alertmanager. Zero is normal.",
            unit="ops",
            width=16,
            queries=(
                Query(f"sum(rate(prometheus_rule_evaluation_failures_total{RATE}))", "rules"),
                Query(f"sum(rate(prometheus_notifications_errors_total{RATE}))", "alerts"),
                Query(f"sum by (integration) (rate(alertmanager_notifications_failed_total{RATE}))", "{{integration}}"),
            ),
        ),
        Panel(
            id=20,
            title="Series",
            description="Series in Prometheus' memory. A steep rise means that a label has too many values.",
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
