"""The monitoring component: targets, notifications and secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from settings.catalog import FRONTENDS, SERVICES, FrontendSpec
from tests.unit.conftest import FULL_DOCKER, PROVIDER_SECRETS, Deploy
from tests.unit.platform_recording import CLUSTER, RecordedPlatform, RecordPlatform
from workloads import INTERNET, RECOVERY_S, Endpoint, ExternalEndpoint, LongRunning, StatefulService, Task

EXPORTERS = {"postgres", "redis", "kafka", "nginx", "probe", "node"}
UNMONITORED = {"pgadmin", "redis-commander", "kafka-ui", "grafana", "zookeeper"}
"""Workloads that users don't notice directly, and ZooKeeper, which every broker needs."""

CLUSTER_CONFIGURATION = {
    **CLUSTER,
    "services": {"deploy": ["user", "rdv"]},
    "gateway": {"enabled": True},
    "edge": {"kind": "ingress"},
}


def stack(monitoring: dict[str, Any] | None = None, **others: Any) -> dict[str, Any]:
    """Deploy a small stack with monitoring."""
    return {"credentials": "well-known", "monitoring": {"enabled": True, **(monitoring or {})}, **others}


@pytest.fixture
def full(record_platform: RecordPlatform) -> RecordedPlatform:
    """A configuration that enables everything one Docker engine can run."""
    return record_platform(FULL_DOCKER)


def configuration(platform: RecordedPlatform) -> dict[str, Any]:
    """Return Prometheus' configuration."""
    found: dict[str, Any] = json.loads(platform.files["prometheus/configuration"]["prometheus.yml"])
    return found


def routing(platform: RecordedPlatform) -> dict[str, Any]:
    """Return Alertmanager's configuration."""
    found: dict[str, Any] = json.loads(platform.files["alertmanager/configuration"]["alertmanager.yml"])
    return found


def scraped_addresses(platform: RecordedPlatform) -> dict[tuple[str, str], str]:
    """Map the (job, workload) of each scrape to the address it scrapes."""
    found = {}
    for scrape in configuration(platform)["scrape_configs"]:
        job, workload = (step["replacement"] for step in scrape["relabel_configs"])
        ((address,),) = (group["targets"] for group in scrape["static_configs"])
        found[job, workload] = address + scrape["metrics_path"]
    return found


def recorded_thresholds(platform: RecordedPlatform) -> dict[str, str]:
    """Return the thresholds as the alert rules read them."""
    groups = json.loads(platform.files["prometheus/rules"]["thresholds.yml"])["groups"]
    return {rule["record"]: rule["expr"] for group in groups for rule in group["rules"] if not rule.get("labels")}


def metrics_addresses(workload: LongRunning) -> dict[tuple[str, str], str]:
    """Map the (job, workload) of a workload's metrics to the address that Prometheus scrapes."""
    return {
        (one.job, one.workload or workload.name): f"{workload.name}:{one.port}{one.path}" for one in workload.metrics
    }


def probe_of(platform: RecordedPlatform, job: str, workload: str) -> tuple[str, dict[str, Any]]:
    """Return the exporter's target and the module that probes it."""
    (scrape,) = (
        one
        for one in configuration(platform)["scrape_configs"]
        if [step["replacement"] for step in one["relabel_configs"]] == [job, workload]
    )
    (target,), (module,) = scrape["params"]["target"], scrape["params"]["module"]
    modules: dict[str, Any] = json.loads(platform.files["probe-exporter/configuration"]["config.yml"])["modules"]
    return target, modules[module]


class TestTargets:
    def test_exactly_the_workloads_with_metrics_are_scraped(self, full: RecordedPlatform) -> None:
        with_metrics = [metrics_addresses(one) for one in full.workloads.values() if isinstance(one, LongRunning)]
        expected = {pair: where for one in with_metrics for pair, where in one.items()}
        assert len(expected) == sum(map(len, with_metrics))
        assert scraped_addresses(full) == {**expected, ("prometheus", "prometheus"): "localhost:9090/metrics"}

    def test_services_gateway_and_stores_are_scraped(self, full: RecordedPlatform) -> None:
        pairs = {*scraped_addresses(full)}
        assert pairs >= {("service", service.name) for service in SERVICES}
        assert pairs >= {(name, name) for name in EXPORTERS - {"probe"}} | {("certificate", "nginx")}
        assert pairs >= {("kong", "kong"), ("alertmanager", "alertmanager")}

    def test_every_front_end_is_probed(self, full: RecordedPlatform) -> None:
        found = {workload: where for (job, workload), where in scraped_addresses(full).items() if job == "frontend"}
        assert found == {frontend.name: "probe-exporter:9115/probe" for frontend in FRONTENDS}

    def test_every_workload_is_monitored_or_listed_as_an_exception(self, full: RecordedPlatform) -> None:
        with_metrics = {one.name for one in full.workloads.values() if isinstance(one, Task) or one.metrics}
        probed = {workload for _, workload in scraped_addresses(full)}
        assert full.workloads.keys() - with_metrics - probed == UNMONITORED

    def test_every_target_has_an_expected_number_of_instances(self, full: RecordedPlatform) -> None:
        groups = json.loads(full.files["prometheus/rules"]["thresholds.yml"])["groups"]
        rules = [rule["labels"] for group in groups for rule in group["rules"] if rule["record"] == "pti:expected"]
        assert {(labels["job"], labels["workload"]) for labels in rules} == {*scraped_addresses(full)}

    def test_prometheus_may_only_connect_to_its_targets(self, full: RecordedPlatform) -> None:
        called = {str(call) for call in full.workloads["prometheus"].connects_to}
        assert called == {address.partition("/")[0] for address in scraped_addresses(full).values()} - {
            "localhost:9090"
        }

    def test_a_stack_without_nginx_has_no_nginx_target(self, record_platform: RecordPlatform) -> None:
        workloads = record_platform(stack()).workloads
        missing = {f"{name}-exporter" for name in EXPORTERS} - workloads.keys()
        assert missing == {"nginx-exporter", "probe-exporter"}

    def test_a_cluster_has_no_exporters_of_nginx_or_nodes(self, record_platform: RecordPlatform) -> None:
        platform = record_platform({**CLUSTER_CONFIGURATION, "monitoring": {"enabled": True}}, PROVIDER_SECRETS)
        assert {"nginx-exporter", "probe-exporter", "node-exporter"} & platform.workloads.keys() == set()

    def test_front_ends_behind_the_clusters_edge_are_monitored(self, record_platform: RecordPlatform) -> None:
        frontends = {"deploy": ["pro-webapp"]}
        platform = record_platform(
            {**CLUSTER_CONFIGURATION, "frontends": frontends, "monitoring": {"enabled": True}}, PROVIDER_SECRETS
        )
        modules = json.loads(platform.files["probe-exporter/configuration"]["config.yml"])["modules"]
        assert modules.keys() == {"frontend"}
        assert platform.workloads["probe-exporter"].connects_to == (Endpoint("pro-webapp", 3001),)

    def test_only_the_certificate_of_nginx_is_probed(self, record_platform: RecordPlatform) -> None:
        platform = record_platform(stack(gateway={"enabled": True}))
        modules = json.loads(platform.files["probe-exporter/configuration"]["config.yml"])["modules"]
        assert modules.keys() == {"certificate"}
        assert platform.workloads["probe-exporter"].connects_to == (Endpoint("nginx", 8443),)

    def test_only_rules_with_targets_are_mounted(self, full: RecordedPlatform) -> None:
        names = full.files["prometheus/rules"].keys()
        assert names >= {"services.yml", "stores.yml", "targets.yml", "disks.yml", "certificates.yml", "thresholds.yml"}
        assert {"archive.yml", "backup.yml", "drill.yml", "tenants.yml"} & names == set()

    def test_rules_about_the_restore_drill_require_it(self, record_platform: RecordPlatform) -> None:
        without = record_platform(stack(backups={"enabled": True}))
        assert "drill.yml" not in without.files["prometheus/rules"]
        platform = record_platform(stack(backups={"enabled": True, "drill": {"enabled": True}}))
        assert "drill.yml" in platform.files["prometheus/rules"]

    def test_rules_about_the_tenant_audit_require_it(self, record_platform: RecordPlatform) -> None:
        platform = record_platform(stack(tenants={"enabled": True}))
        assert "tenants.yml" in platform.files["prometheus/rules"]

    def test_certificate_rules_require_nginx(self, record_platform: RecordPlatform) -> None:
        clustered = record_platform({**CLUSTER_CONFIGURATION, "monitoring": {"enabled": True}}, PROVIDER_SECRETS)
        for platform in (record_platform(stack()), clustered):
            assert "certificates.yml" not in platform.files["prometheus/rules"]
        of_its_own = {**CLUSTER_CONFIGURATION, "edge": {"kind": "nginx"}, "monitoring": {"enabled": True}}
        assert "certificates.yml" in record_platform(of_its_own, PROVIDER_SECRETS).files["prometheus/rules"]


class TestPostgresServers:
    @pytest.fixture
    def clustered_platform(self, record_platform: RecordPlatform) -> RecordedPlatform:
        clustered_platform = {"mode": "cloudnativepg", "cloudnativepg": {"instances": 5}}
        return record_platform(
            {**CLUSTER_CONFIGURATION, "postgres": clustered_platform, "monitoring": {"enabled": True}}, PROVIDER_SECRETS
        )

    def test_prometheus_scrapes_each_exporter(self, clustered_platform: RecordedPlatform) -> None:
        assert scraped_addresses(clustered_platform)["cloudnativepg", "postgres"] == "postgres:9187/metrics"
        assert Endpoint("postgres", 9187) in clustered_platform.workloads["prometheus"].connects_to

    def test_rules_have_the_expected_number_of_replicas(self, clustered_platform: RecordedPlatform) -> None:
        groups = json.loads(clustered_platform.files["prometheus/rules"]["thresholds.yml"])["groups"]
        labels = {"job": "cloudnativepg", "workload": "postgres"}
        rule = {"record": "pti:expected", "expr": "vector(5)", "labels": labels}
        assert [one for group in groups for one in group["rules"] if one.get("labels") == labels] == [rule]

    def test_replication_rules_require_replicas(
        self, clustered_platform: RecordedPlatform, full: RecordedPlatform
    ) -> None:
        assert "cloudnativepg.yml" in clustered_platform.files["prometheus/rules"]
        assert "cloudnativepg.yml" not in full.files["prometheus/rules"]


class TestExporters:
    def test_the_password_of_postgresql_is_a_file_of_a_role_without_rows(self, full: RecordedPlatform) -> None:
        exporter = full.workloads["postgres-exporter"]
        assert exporter.environment["DATA_SOURCE_USER"] == "pti_monitor"
        assert exporter.environment["DATA_SOURCE_URI"] == "postgres:5432/postgres?sslmode=disable"
        assert exporter.environment["DATA_SOURCE_PASS_FILE"] == "/run/secrets/exporter/password"
        assert full.files["postgres-exporter/secrets"] == {"password": "pti_monitor"}
        assert "databases" in exporter.depends_on, "which makes the role"

    def test_the_monitoring_role_is_created_only_with_monitoring(
        self, full: RecordedPlatform, record_platform: RecordPlatform
    ) -> None:
        assert full.files["databases/roles"]["pti_monitor"] == "pti_monitor"
        assert "pti_monitor" not in record_platform({"credentials": "well-known"}).files["databases/roles"]

    def test_the_password_of_redis_is_in_a_file_under_its_address(self, record_platform: RecordPlatform) -> None:
        platform = record_platform(stack(), {"redisPassword": "guessed"})
        exporter = platform.workloads["redis-exporter"]
        assert json.loads(platform.files["redis-exporter/secrets"]["passwords.json"]) == {
            "redis://redis:6379": "guessed"
        }
        assert exporter.environment["REDIS_PASSWORD_FILE"] == "/run/secrets/exporter/passwords.json"

    def test_a_redis_without_a_password_is_scraped_without_one(self, full: RecordedPlatform) -> None:
        exporter = full.workloads["redis-exporter"]
        assert (exporter.file_sets, "REDIS_PASSWORD_FILE" in exporter.environment) == ((), False)

    def test_no_secret_is_in_an_environment_or_an_argument(self, full: RecordedPlatform) -> None:
        for name in ("prometheus", "alertmanager", "grafana", *(f"{one}-exporter" for one in EXPORTERS)):
            workload = full.workloads[name]
            assert {type(value) for value in workload.environment.values()} <= {str}
            sets = {f"{name}/{one.name}" for one in workload.file_sets if one.secret}
            assert sets == {path for path in full.secret_files if path.startswith(f"{name}/")}

    def test_each_exporter_may_only_connect_to_its_target(self, full: RecordedPlatform) -> None:
        called = {name: {str(call) for call in full.workloads[f"{name}-exporter"].connects_to} for name in EXPORTERS}
        assert called == {
            "postgres": {"postgres:5432"},
            "redis": {"redis:6379"},
            "kafka": {"kafka:19092"},
            "nginx": {"nginx:8081"},
            "probe": {"nginx:8443", *(f"{one.name}:{one.port}" for one in FRONTENDS)},
            "node": set(),
        }

    def test_an_exporter_stays_ready_while_its_store_is_down(self, full: RecordedPlatform) -> None:
        checks = [full.workloads[f"{name}-exporter"].readiness for name in EXPORTERS - {"nginx"}]
        assert {getattr(probe_of.check, "path", None) for probe_of in checks if probe_of} == {"/"}
        assert None not in checks

    def test_the_probed_certificate_is_the_one_for_the_api_host(self, full: RecordedPlatform) -> None:
        target, module = probe_of(full, "certificate", "nginx")
        name = module["tcp"]["tls_config"]["server_name"]
        assert (target, name) == ("nginx:8443", "api.pti-calendar.localhost")
        assert f"server_name {name};" in full.files["nginx/configuration"]["nginx.conf"]

    def test_an_untrusted_certificate_is_probed_too(self, full: RecordedPlatform) -> None:
        _, module = probe_of(full, "certificate", "nginx")
        assert module["tcp"]["tls_config"]["insecure_skip_verify"] is True

    @pytest.mark.parametrize("frontend", FRONTENDS, ids=lambda frontend: frontend.name)
    def test_a_front_end_is_healthy_if_it_returns_200_without_a_redirect(
        self, full: RecordedPlatform, frontend: FrontendSpec
    ) -> None:
        target, module = probe_of(full, "frontend", frontend.name)
        assert target == f"http://{frontend.name}:{frontend.port}/health"
        assert module["prober"] == "http"
        assert (module["http"]["valid_status_codes"], module["http"]["follow_redirects"]) == ([200], False)

    def test_encrypted_stores_are_scraped_over_tls(self, record_platform: RecordPlatform) -> None:
        external = {
            "postgres": {"mode": "external", "external": {"host": "db.example.com", "sslMode": "verify-full"}},
            "redis": {"mode": "external", "external": {"host": "cache.example.com", "tls": True}},
            "kafka": {
                "mode": "external",
                "external": {
                    "bootstrapServers": ["a.example.com:9093", "b.example.com:9093"],
                    "securityProtocol": "SSL",
                },
            },
        }
        platform = record_platform(
            {**stack(), "credentials": "generated", **external},
            {"postgresPassword": "one", "redisPassword": "two"},
        )
        workloads = platform.workloads
        assert str(workloads["postgres-exporter"].environment["DATA_SOURCE_URI"]).endswith("sslmode=verify-full")
        assert workloads["redis-exporter"].environment["REDIS_ADDR"] == "rediss://cache.example.com:6379"
        assert workloads["kafka-exporter"].arguments == (
            "--kafka.server=a.example.com:9093",
            "--kafka.server=b.example.com:9093",
            "--tls.enabled",
        )

    def test_kafkas_exporter_waits_for_a_broker_without_a_limit(self, record_platform: RecordPlatform) -> None:
        exporter = record_platform(stack()).workloads["kafka-exporter"]
        assert exporter.command[:2] == ("sh", "-c")
        assert exporter.liveness is not None
        assert exporter.liveness.startup_s == RECOVERY_S

    def test_kafkas_password_is_not_in_an_argument(self, record_platform: RecordPlatform) -> None:
        metrics_addresses = {
            "bootstrapServers": ["a.example.com:9093"],
            "securityProtocol": "SASL_SSL",
            "username": "pti",
        }
        platform = record_platform(
            {**stack(), "kafka": {"mode": "external", "external": metrics_addresses}}, {"kafkaPassword": "guessed"}
        )
        arguments = platform.workloads["kafka-exporter"].arguments
        assert {"--tls.enabled", "--sasl.enabled", "--sasl.username=pti"} <= {*arguments}
        assert arguments[-1] == "@/run/secrets/exporter/arguments"
        assert platform.files["kafka-exporter/secrets"] == {"arguments": "--sasl.password=guessed\n"}


class TestPrometheus:
    def test_prometheus_has_the_configured_settings(self, record_platform: RecordPlatform) -> None:
        own = {"retentionDays": 3, "storageGib": 10, "memoryMib": 700, "scrapeIntervalS": 5, "port": 9099}
        platform = record_platform(stack({"prometheus": own}))
        prometheus = platform.workloads["prometheus"]
        assert {"--storage.tsdb.retention.time=3d", "--storage.tsdb.retention.size=7168MB"} <= {*prometheus.arguments}
        assert prometheus.memory_mib == 700
        assert [(volume.mount, volume.size_gib) for volume in prometheus.volumes] == [("/prometheus", 10)]
        assert [port.publish for port in prometheus.ports] == [9099]
        assert configuration(platform)["global"] == {"scrape_interval": "5s", "evaluation_interval": "5s"}

    def test_grafana_has_the_scrape_interval_of_prometheus(self, record_platform: RecordPlatform) -> None:
        platform = record_platform(stack({"prometheus": {"scrapeIntervalS": 7}}))
        sources = yaml.safe_load(platform.files["grafana/datasources"]["pti-calendar.yaml"])["datasources"]
        assert [one["jsonData"].get("timeInterval") for one in sources] == ["7s", None]

    def test_thresholds_follow_the_settings(self, record_platform: RecordPlatform) -> None:
        limits = {
            "latencyMs": 250,
            "errorPercent": 2.5,
            "diskPercent": 70.0,
            "trafficFloorRps": 0.5,
            "availabilityPercent": 99.0,
            "certificateDays": 7,
            "tenantAuditHours": 170,
        }
        configured = stack({"thresholds": limits}, gateway={"enabled": True}, tenants={"enabled": True})
        found = recorded_thresholds(record_platform(configured))
        assert found == {
            "pti:threshold:latency_p95_seconds": "vector(0.25)",
            "pti:threshold:error_ratio": "vector(0.025)",
            "pti:threshold:disk_used_ratio": "vector(0.7)",
            "pti:threshold:traffic_floor_rps": "vector(0.5)",
            "pti:objective:availability": "vector(0.99)",
            "pti:threshold:certificate_expiry_seconds": "vector(604800)",
            "pti:threshold:backup_age_seconds": "vector(93600)",
            "pti:threshold:restore_drill_age_seconds": "vector(633600)",
            "pti:threshold:base_age_seconds": "vector(93600)",
            "pti:threshold:kept_wal_bytes": "vector(2147483648)",
            "pti:threshold:offsite_age_seconds": "vector(108000)",
            "pti:threshold:tenant_audit_age_seconds": "vector(612000)",
        }

    def test_samples_outlive_the_container_of_prometheus(self, full: RecordedPlatform) -> None:
        assert {name for name in ("prometheus", "alertmanager", "grafana") if full.workloads[name].volumes} == {
            "prometheus",
            "alertmanager",
        }
        assert {type(full.workloads[name]) for name in ("prometheus", "alertmanager")} == {StatefulService}


class TestReceivers:
    def test_by_default_no_receiver_is_notified(self, full: RecordedPlatform) -> None:
        alertmanager = full.workloads["alertmanager"]
        assert alertmanager.connects_to == ()
        assert [one for one in routing(full)["receivers"] if len(one) > 1] == []
        assert "alertmanager/secrets" not in full.files

    def test_a_webhooks_url_is_a_secret(self, record_platform: RecordPlatform) -> None:
        platform = record_platform(
            stack({"receivers": {"webhook": True, "heartbeat": True}}),
            {"alertWebhookUrl": "https://one.example.com", "heartbeatWebhookUrl": "https://two.example.com"},
        )
        oncall, watchdog, _ = routing(platform)["receivers"]
        folder = "/run/secrets/alertmanager"
        assert [one["url_file"] for one in oncall["webhook_configs"]] == [f"{folder}/alertWebhookUrl"]
        assert [one["url_file"] for one in watchdog["webhook_configs"]] == [f"{folder}/heartbeatWebhookUrl"]
        assert platform.files["alertmanager/secrets"] == {
            "alertWebhookUrl": "https://one.example.com",
            "heartbeatWebhookUrl": "https://two.example.com",
        }
        assert "alertmanager/secrets" in platform.secret_files
        assert platform.workloads["alertmanager"].connects_to == (INTERNET,)

    def test_mail_only_goes_through_the_configured_server(self, record_platform: RecordPlatform) -> None:
        email = {"to": ["a@example.com", "b@example.com"], "smarthost": "smtp.example.com:587", "username": "alerts"}
        platform = record_platform(stack({"receivers": {"email": email}}), {"alertEmailPassword": "guessed"})
        (mail,) = routing(platform)["receivers"][0]["email_configs"]
        assert (mail["to"], mail["smarthost"]) == ("a@example.com, b@example.com", "smtp.example.com:587")
        assert mail["auth_password_file"] == "/run/secrets/alertmanager/alertEmailPassword"
        assert platform.files["alertmanager/secrets"] == {"alertEmailPassword": "guessed"}
        assert platform.workloads["alertmanager"].connects_to == (ExternalEndpoint("smtp.example.com", 587),)

    def test_a_notification_links_to_grafana(self, record_platform: RecordPlatform) -> None:
        platform = record_platform(stack({"grafana": {"port": 3333}}))
        assert "http://127.0.0.1:3333" in platform.files["alertmanager/templates"]["addresses.tmpl"]


PUBLIC = {
    "grafana": {"url": "https://example.com/grafana"},
    "prometheus": {"url": "https://example.com/prometheus"},
    "alertmanager": {"url": "https://alerts.example.com:8443"},
}


class TestLinks:
    def test_links_use_the_public_url(self, record_platform: RecordPlatform) -> None:
        platform = record_platform(stack(PUBLIC))
        assert (
            '"pti.grafana" }}https://example.com/grafana{{'
            in platform.files["alertmanager/templates"]["addresses.tmpl"]
        )
        for name in ("prometheus", "alertmanager"):
            flags = platform.workloads[name].arguments
            assert f"--web.external-url={PUBLIC[name]['url']}" in flags
            assert "--web.route-prefix=/" in flags, "probes and scrapes have no path"
        assert platform.workloads["grafana"].environment["GF_SERVER_ROOT_URL"] == "https://example.com/grafana/"
        assert platform.outputs["monitoring"] == {name: section["url"] for name, section in PUBLIC.items()}

    def test_links_use_published_ports_without_a_public_url(self, record_platform: RecordPlatform) -> None:
        platform = record_platform(stack({"prometheus": {"port": 9001}}))
        assert "--web.external-url=http://127.0.0.1:9001" in platform.workloads["prometheus"].arguments

    def test_without_a_public_url_a_cluster_gives_the_port_forward_command(self, deploy: Deploy) -> None:
        cluster = {**CLUSTER_CONFIGURATION, "monitoring": {"enabled": True}}
        objects = deploy(cluster, PROVIDER_SECRETS).of_type("ConfigMap")
        (template,) = [
            one.inputs["data"]["addresses.tmpl"] for one in objects if "addresses.tmpl" in one.inputs["data"]
        ]
        command = "kubectl port-forward --namespace pti-calendar service/grafana 3030, then http://127.0.0.1:3030"
        assert command in template

    def test_no_link_uses_a_cluster_internal_name(self, deploy: Deploy) -> None:
        objects = deploy({**CLUSTER_CONFIGURATION, "monitoring": {"enabled": True}}, PROVIDER_SECRETS)
        for name, kind in (("prometheus", "StatefulSet"), ("alertmanager", "StatefulSet"), ("grafana", "Deployment")):
            (container,) = objects.get(kind, name).inputs["spec"]["template"]["spec"]["containers"]
            links = [one for one in container.get("args", []) if one.startswith("--web.external-url=")]
            links += [one["value"] for one in container.get("env", []) if one["name"] == "GF_SERVER_ROOT_URL"]
            assert [one for one in links if "127.0.0.1" not in one] == []
            assert len(links) == 1


class TestGrafana:
    def test_grafana_finds_the_four_dashboards(self, full: RecordedPlatform) -> None:
        (provider,) = yaml.safe_load(full.files["grafana/providers"]["pti-calendar.yaml"])["providers"]
        folders = {one.name: one.directory for one in full.workloads["grafana"].file_sets}
        assert folders["dashboards"] == provider["options"]["path"]
        assert len(full.files["grafana/dashboards"]) == 4

    def test_grafanas_password_is_a_file(self, full: RecordedPlatform) -> None:
        grafana = full.workloads["grafana"]
        file = grafana.environment["GF_SECURITY_ADMIN_PASSWORD__FILE"]
        assert file == "/run/secrets/grafana/password"
        assert full.files["grafana/secrets"] == {"password": full.outputs["credentials"]["grafana"]}

    def test_grafana_may_only_connect_to_its_data_sources(self, full: RecordedPlatform) -> None:
        sources = yaml.safe_load(full.files["grafana/datasources"]["pti-calendar.yaml"])["datasources"]
        calls = full.workloads["grafana"].connects_to
        assert {one["url"] for one in sources} == {f"http://{call}" for call in calls}
        assert calls == (Endpoint("prometheus", 9090), Endpoint("alertmanager", 9093))


class TestOutputs:
    def test_the_outputs_have_the_monitoring_urls(self, record_platform: RecordPlatform) -> None:
        ports = {"prometheus": {"port": 9001}, "grafana": {"port": 9002}, "alertmanager": {"port": 9003}}
        outputs = record_platform(stack(ports)).outputs
        assert outputs["monitoring"] == {
            "prometheus": "http://127.0.0.1:9001",
            "grafana": "http://127.0.0.1:9002",
            "alertmanager": "http://127.0.0.1:9003",
        }
        assert outputs["credentials"]["grafana"] == "admin"

    def test_without_monitoring_the_outputs_have_no_urls(self, record_platform: RecordPlatform) -> None:
        platform = record_platform({"credentials": "well-known"})
        assert {*platform.outputs["monitoring"].values(), platform.outputs["credentials"]["grafana"]} == {None}
        assert platform.workloads.keys() & {"prometheus", "alertmanager", "grafana", "postgres-exporter"} == set()


class TestVolumes:
    def test_data_is_stored_below_the_mount_and_older_data_is_moved_there(self, full: RecordedPlatform) -> None:
        for name, option in (("prometheus", "--storage.tsdb.path"), ("alertmanager", "--storage.path")):
            workload = full.workloads[name]
            (volume,) = workload.volumes
            assert f"{option}={volume.mount}/data" in workload.arguments
            script = f"/etc/{name}/config/below.sh"
            assert workload.command == ("sh", script, volume.mount, "data", f"/bin/{name}")
            assert full.files[f"{name}/configuration"]["below.sh"].startswith("#!/bin/sh\n")

    @pytest.mark.parametrize("percent", [20.0, 80.0, 99.0])
    def test_prometheus_deletes_old_samples_before_its_disk_raises_an_alert(
        self, record_platform: RecordPlatform, percent: float
    ) -> None:
        monitoring = {"prometheus": {"storageGib": 10}, "thresholds": {"diskPercent": percent}}
        arguments = record_platform(stack(monitoring)).workloads["prometheus"].arguments
        (size,) = (one.partition("=")[2] for one in arguments if one.startswith("--storage.tsdb.retention.size="))
        assert 0.8 * percent < int(size.removesuffix("MB")) / 10_240 * 100 < 0.9 * percent
